# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_life 79)
set(bug_find [==[
member->memory().sync_failed.store(true, std::memory_order_seq_cst);]==])
set(bug_replace [==[
if (!remapfs::sim::bug("sync_failure_forgotten")) member->memory().sync_failed.store(true, std::memory_order_seq_cst);]==])
