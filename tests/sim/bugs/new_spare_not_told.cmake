# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_spares.cpp)
set(bug_life 26)
set(bug_find [==[
  // not have known all that it has to say.
  tell_spares();]==])
set(bug_replace [==[
  // not have known all that it has to say.
  if (!remapfs::sim::bug("new_spare_not_told")) tell_spares();]==])
