// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/remap_table.hpp"

namespace remapfs::store {

// Something that is not as it should be.
struct Finding {
  enum class Severity : std::uint8_t {
    error,   // the volume would not be mounted
    mended,  // the next mount for writing puts it right by itself
    note,    // could not be looked at
  };
  Severity severity = Severity::error;
  std::string subject;  // "database", "volume", "row", "tag", "superblock", "watermark", "spare"
  std::string text;     // one line for a person
};

// The volume and its members, as far as a map that may be damaged can tell; nothing of its entries.
// Errors: as SqliteMapStore::open().
Result<VolumeInfo> members_of(const std::string& path);

// Compares everything that is known about a volume and names all that is wrong; empty when nothing is. Of findings of
// one kind the first hundred are named and the rest counted.
//
// spares: the devices that are there; the others are noted as missing and not looked at.
// Writes nothing. Errors: only when it cannot look at all: not_found, permission, busy (mounted), store, no_memory.
Result<std::vector<Finding>> check_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares);

}  // namespace remapfs::store
