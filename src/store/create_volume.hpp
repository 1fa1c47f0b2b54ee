// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"

namespace remapfs::store {

// What a new volume is to be.
struct CreateSpec {
  std::string map_path;  // must not exist; its directory must
  std::string label;
  std::uint64_t block_size = kDefaultBlockSize;
  ByteCount size;  // of the virtual disk, whole sectors
  std::string primary_path;
  std::string primary_identity;
  std::string spare_path;
  std::string spare_identity;
  ByteOffset spare_begin;  // on its device, a multiple of kSlotAlignment
  // The spare was just made and reads as zeros everywhere: its tag tables need not be written.
  bool spare_reads_zeros = false;
};

// Makes a volume: initialises the spare, durably, and then lets the map appear under its name, complete and durable,
// with mode 0600. Whatever the spare held before is lost.
//
// Errors: exists (the map, or the -wal of an earlier map of that name, which SQLite would apply to the new one),
//   invalid (block size, size, or a spare too small for one slot), not_found, permission, store, device errors. After
//   an error there is no map, no temporary file and no superblock on the spare.
// Threads: any. Cost: zeroes 86 bytes of the spare for each slot, unless spare_reads_zeros; three syncs.
Result<VolumeInfo> create_volume(const CreateSpec& spec, BlockDevice& spare);

}  // namespace remapfs::store
