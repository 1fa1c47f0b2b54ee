# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
if (auto synced = spares_.at(id).tags.device().sync(); !synced) {]==])
set(bug_replace [==[
if (remapfs::sim::bug("slot_synced_after_commit")) continue;
    if (auto synced = spares_.at(id).tags.device().sync(); !synced) {]==])
