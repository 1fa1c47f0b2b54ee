# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/flush.cpp)
set(bug_find [==[
      if (!member) continue;]==])
set(bug_replace [==[
      if (!member || (id == 0 && remapfs::sim::bug("flush_skips_primary"))) continue;]==])
