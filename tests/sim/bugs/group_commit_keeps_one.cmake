# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/group_commit.cpp)
set(bug_find [==[
    append(all.changes, one->transaction.changes);]==])
set(bug_replace [==[
    if (one == group.front() || !remapfs::sim::bug("group_commit_keeps_one")) {
      append(all.changes, one->transaction.changes);
    }]==])
