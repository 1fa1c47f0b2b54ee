# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
  FinishedCommits now;
]==])
set(bug_replace [==[
  FinishedCommits now;
  if (remapfs::sim::bug("commit_left_unfinished")) unfinished_.clear();
]==])
