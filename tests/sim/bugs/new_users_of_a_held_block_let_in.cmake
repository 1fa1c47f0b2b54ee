# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/block_gate.cpp)
set(bug_find [==[
if (!held(blocks)) return pass;]==])
set(bug_replace [==[
if (!held(blocks) || remapfs::sim::bug("new_users_of_a_held_block_let_in")) return pass;]==])
