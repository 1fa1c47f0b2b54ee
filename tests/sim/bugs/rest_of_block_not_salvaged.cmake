# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/slow_write.cpp)
set(bug_find [==[
const SectorMask salvage = held.valid & ~part.covered() & ~good;]==])
set(bug_replace [==[
const SectorMask salvage =
      remapfs::sim::bug("rest_of_block_not_salvaged") ? 0 : held.valid & ~part.covered() & ~good;]==])
