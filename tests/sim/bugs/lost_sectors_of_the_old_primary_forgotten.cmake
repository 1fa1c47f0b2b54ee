# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/replace.cpp)
set(bug_find [==[
  transaction.changes = *changes;]==])
set(bug_replace [==[
  if (!remapfs::sim::bug("lost_sectors_of_the_old_primary_forgotten")) transaction.changes = *changes;]==])
