# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/volume.cpp)
set(bug_find [==[
    entries.push_back({row.block, row.mapping()});
]==])
set(bug_replace [==[
    entries.push_back({row.block, row.mapping()});
    if (row.state == EntryState::lost && remapfs::sim::bug("lost_sectors_forgotten_at_mount")) {
      entries.back().mapping = {EntryState::weak, {}, geometry.full_mask()};
    }
]==])
