# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
  if (auto written = write_watermark(spare, plan.sequence); !written) return written;]==])
set(bug_replace [==[
  if (remapfs::sim::bug("watermark_not_written")) return {};
  if (auto written = write_watermark(spare, plan.sequence); !written) return written;]==])
