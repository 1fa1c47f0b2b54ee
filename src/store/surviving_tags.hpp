// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "store/spare_format.hpp"

namespace remapfs::store {

// What a spare knows of its volume without the map.
struct SurvivingTags {
  Superblock superblock;
  // Blocks whose data is on the spare, one row each, ascending. Cause and count of errors went with the map.
  std::vector<RemapRow> rows;
  // Blocks without a row, ascending, that the commit after the watermark gave a slot, in which no sector is valid: what
  // is to be said of them where nothing is proven, or that commit may have been completed elsewhere.
  std::vector<RemapRow> cut_off;
  // True: the rows are those of the last complete commit, no more and no less, and no later one was acknowledged.
  bool proven = false;
  // What is damaged or was cut off, one line each: the first hundred by name, then how many more. When proven, none of
  // it matters.
  std::vector<std::string> doubts;
  // Slots that may hold data of nobody knows which block, ascending. Empty when proven.
  std::vector<SlotIndex> unknown;
};

// Reads superblocks and tags of a spare whose map is not there. Writes nothing.
//
// Of each slot the copy with the highest sequence up to the watermark counts, of several slots of one block that with
// the highest sequence. Tags of the commit after the watermark do not: it was never acknowledged, and the data in its
// slots may not be there. What is left is proven when number and digest of the rows are those of the superblock, and no
// newer superblock can be missing (docs/adr/0009-recovery.md).
// Errors: foreign (no spare), too_new, corrupt (superblocks; tags from commits that cannot have begun; tags that name
//   fewer blocks than are vouched for, or others, although nothing is damaged), device errors, no_memory. Memory: 100
//   bytes for each used slot. Cost: reads both tag tables.
Result<SurvivingTags> read_surviving_tags(BlockDevice& device);

}  // namespace remapfs::store
