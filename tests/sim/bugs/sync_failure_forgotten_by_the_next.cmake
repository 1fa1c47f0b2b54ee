# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_life 157)
set(bug_find [==[
take_over(memory.sync_failed, own_.sync_failed);]==])
set(bug_replace [==[
if (remapfs::sim::bug("sync_failure_forgotten_by_the_next")) memory.sync_failed.store(false);
  take_over(memory.sync_failed, own_.sync_failed);]==])
