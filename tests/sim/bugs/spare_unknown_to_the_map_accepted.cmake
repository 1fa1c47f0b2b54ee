# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/spare_superblocks.cpp)
set(bug_life 26)
set(bug_find [==[
    if (!roll.numbers[id] || known[id]) continue;]==])
set(bug_replace [==[
    if (!roll.numbers[id] || known[id] || remapfs::sim::bug("spare_unknown_to_the_map_accepted")) continue;]==])
