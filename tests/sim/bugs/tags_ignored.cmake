# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_load.cpp)
set(bug_find [==[
auto mending = audit_tags(spare.tags, audit);]==])
set(bug_replace [==[
auto mending = remapfs::sim::bug("tags_ignored") ? Result<TagMending>(TagMending{}) : audit_tags(spare.tags, audit);]==])
