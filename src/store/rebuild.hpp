// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/remap_table.hpp"

namespace remapfs::store {

// What became of a damaged map file.
struct Rebuilt {
  std::string kept_as;            // the old file, with its log
  std::vector<std::string> lost;  // what could not be read and was left out, a line each
};

// Replaces a damaged map by a new one of the same contents, which has been loaded as by a mount before. Writes nothing
// to spares.
//
// The rows must be proven: as many, and with the digest, that the map says. They are those that can still be read; else
// those that the tags of the spares prove, together with the lost and weak ones that can be read. Of retired slots and
// history as much is kept as can be read.
// Errors: corrupt when that cannot be had; stale; those of opening and loading a map. Nothing is changed then.
Result<Rebuilt> rebuild_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares);

}  // namespace remapfs::store
