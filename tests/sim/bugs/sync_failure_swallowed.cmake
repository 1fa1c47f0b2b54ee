# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_find [==[
if (!synced) {]==])
set(bug_replace [==[
if (!synced && remapfs::sim::bug("sync_failure_swallowed")) return {};
  if (!synced) {]==])
