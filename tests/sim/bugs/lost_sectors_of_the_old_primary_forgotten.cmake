# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/replace.cpp)
set(bug_find [==[
  volume_.lost_for_good = true;]==])
set(bug_replace [==[
  if (remapfs::sim::bug("lost_sectors_of_the_old_primary_forgotten")) {
    rows_marked_ = true;
    return {};
  }
  volume_.lost_for_good = true;]==])
