# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_commit.cpp)
set(bug_life 400)
set(bug_find [==[
    if (spare_plan.takes_over) {]==])
set(bug_replace [==[
    if (spare_plan.takes_over && !remapfs::sim::bug("move_between_spares_not_told")) {]==])
