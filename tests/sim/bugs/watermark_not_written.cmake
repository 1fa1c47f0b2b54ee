# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
  return write_watermark(spare, plan.sequence);]==])
set(bug_replace [==[
  if (remapfs::sim::bug("watermark_not_written")) return {};
  return write_watermark(spare, plan.sequence);]==])
