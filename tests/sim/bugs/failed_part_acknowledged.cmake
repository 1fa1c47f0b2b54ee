# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/direct_access.cpp)
set(bug_find [==[
served = served && part.done;]==])
set(bug_replace [==[
served = served && (part.done || remapfs::sim::bug("failed_part_acknowledged"));]==])
