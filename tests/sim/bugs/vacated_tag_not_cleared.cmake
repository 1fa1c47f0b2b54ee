# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_find [==[
    if (!owner) updates.push_back({slot, Tag::cleared_at(plan.sequence)});]==])
set(bug_replace [==[
    if (!owner && !remapfs::sim::bug("vacated_tag_not_cleared")) {
      updates.push_back({slot, Tag::cleared_at(plan.sequence)});
    }]==])
