# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_find [==[
sync_failed_.store(true, std::memory_order_release);]==])
set(bug_replace [==[
if (!remapfs::sim::bug("sync_failure_forgotten")) sync_failed_.store(true, std::memory_order_release);]==])
