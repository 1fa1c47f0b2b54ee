# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_find [==[
  ++telling_;
  memory.lost_writes.store(false, std::memory_order_seq_cst);
]==])
set(bug_replace [==[
  ++telling_;
  memory.lost_writes.store(false, std::memory_order_seq_cst);
  if (remapfs::sim::bug("lost_writes_not_told")) return sync_locked();
]==])
