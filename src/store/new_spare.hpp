// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "store/spare_format.hpp"

// What a device needs to become the spare of a volume: of a new one, or one more of a volume that is there.

namespace remapfs::store {

// The superblock of a spare that has never been used: with a uuid of its own, and the watermark 0.
// volume: its uuid, size, block size and the primary's identity are noted. Errors: invalid (the device's logical block
// is larger than the block, or it is too small for one slot), store (no uuid can be had).
Result<Superblock> design_spare(const VolumeInfo& volume, SpareId id, const BlockDevice& spare);

// Makes the device that spare, durably: empty tag tables, then the superblocks. Whatever it held before is lost.
// reads_zeros: it does already, everywhere. Errors: device errors, no_memory; there is no superblock then.
// Cost: zeroes 86 bytes of the device for each slot, unless it reads zeros; two syncs.
Result<void> initialise_spare(BlockDevice& spare, const Superblock& superblock, bool reads_zeros);

// Whether nothing has ever been put on the spare whose superblock this is: no commit was completed or begun. Errors:
// device errors, no_memory.
// Cost: reads 86 bytes for each slot, until something is found.
Result<bool> is_never_used(BlockDevice& spare, const Superblock& superblock);

// Takes the superblocks away, as far as the device lets it.
void wipe_superblocks(BlockDevice& spare, const SpareLayout& layout);

}  // namespace remapfs::store
