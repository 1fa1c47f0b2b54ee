# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/block_gate.cpp)
set(bug_find [==[
!drained(blocks); ++round]==])
set(bug_replace [==[
!remapfs::sim::bug("users_of_a_block_not_drained") && !drained(blocks); ++round]==])
