# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/direct_access.cpp)
set(bug_find [==[
if (access.write) part.device]==])
set(bug_replace [==[
if (access.write && !remapfs::sim::bug("change_past_the_volume_not_noted")) part.device]==])
