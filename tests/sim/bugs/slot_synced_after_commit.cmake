# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
if (!spare_plan.tags_written) continue;
    if (auto synced]==])
set(bug_replace [==[
if (!spare_plan.tags_written || remapfs::sim::bug("slot_synced_after_commit")) continue;
    if (auto synced]==])
