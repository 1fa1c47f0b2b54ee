// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "store/check.hpp"

namespace remapfs::store {

struct Repair {
  std::vector<Finding> mended;    // what was wrong, and is not any more
  std::vector<Finding> left;      // what still is; empty: the volume can be mounted
  std::string kept_as;            // where the old map is, when a new one took its place
  std::vector<std::string> lost;  // of the history and the retired slots, a line each
  std::string reason;             // why something is left: "what, where, what to do"
};

// Mends what can be mended without guessing:
//
//   - what the next mount for writing mends (one copy of a superblock or tag, what a crash left), by doing the same;
//   - tags that are damaged in both copies, where the spare's superblock vouches for the rows of the map;
//   - superblocks that are damaged in both copies, where tags confirm the rows of the map and none is newer;
//   - a damaged map file, where the rows that can be read, or the tags of the spares together with the lost and weak
//     rows that can be read, are as many as the map says and have the digest it says: a new file takes its name.
//
// Anything else is left as it is. spares: all of them, open for writing. Errors: only when it cannot look: not_found
// (the map, or a spare is missing), permission, busy (mounted), store, no_memory.
Result<Repair> repair_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares);

}  // namespace remapfs::store
