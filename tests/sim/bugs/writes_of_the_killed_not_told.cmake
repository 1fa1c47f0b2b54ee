# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/volume.cpp)
set(bug_life 255)
set(bug_find [==[
    if (!store->info().clean) one.device().note_write();]==])
set(bug_replace [==[
    if (!store->info().clean && !remapfs::sim::bug("writes_of_the_killed_not_told")) one.device().note_write();]==])
