# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_load.cpp)
set(bug_find [==[
  if (auto renewed = renew_log(lock_.path()); !renewed) return renewed;]==])
set(bug_replace [==[
  if (!remapfs::sim::bug("log_not_renewed")) {
    if (auto renewed = renew_log(lock_.path()); !renewed) return renewed;
  }]==])
