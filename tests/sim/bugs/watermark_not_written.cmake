# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
  spare.superblock.rows = plan.rows;
  bring_up_to_date(spare.superblock);
]==])
set(bug_replace [==[
  spare.superblock.rows = plan.rows;
  bring_up_to_date(spare.superblock);
  if (remapfs::sim::bug("watermark_not_written")) return std::vector<SlotIndex>{};
]==])
