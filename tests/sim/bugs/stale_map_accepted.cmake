# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store.cpp)
set(bug_find [==[
  if (!compared) return compared;]==])
set(bug_replace [==[
  if (!compared && !remapfs::sim::bug("stale_map_accepted")) return compared;]==])
