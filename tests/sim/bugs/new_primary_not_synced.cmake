# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/replace.cpp)
set(bug_find [==[
  auto synced = next_.device->sync();]==])
set(bug_replace [==[
  if (remapfs::sim::bug("new_primary_not_synced")) return {};
  auto synced = next_.device->sync();]==])
