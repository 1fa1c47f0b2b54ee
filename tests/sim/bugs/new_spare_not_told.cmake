# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_spares.cpp)
set(bug_find [==[
  tell_spares(false, with_it);
  auto added]==])
set(bug_replace [==[
  if (!remapfs::sim::bug("new_spare_not_told")) {
    tell_spares(false, with_it);
  }
  auto added]==])
