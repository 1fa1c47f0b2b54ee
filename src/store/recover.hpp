// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"

namespace remapfs::store {

// A spare to recover from.
struct RecoverySpare {
  BlockDevice* device = nullptr;
  std::string path;
  std::string identity;
  ByteOffset begin{};  // of the spare on the device that has this path
};

struct RecoverySpec {
  std::string map_path;  // must not exist
  std::string primary_path;
  std::string primary_identity;  // of the device that is there now
  ByteCount primary_size;
  std::vector<RecoverySpare> spares;  // all of the volume's
  // Take what is there, though nothing vouches for it: reads may then give old contents.
  bool accept_stale = false;
  // Whether the primary is the one a spare remembers; errors are passed on.
  std::function<Result<void>(const std::string& remembered_identity)> check_primary;
};

struct Recovered {
  VolumeInfo info;
  bool proven = false;              // see JointSurvivors
  std::vector<std::string> doubts;  // one line each; accepted ones, or of no consequence when proven
};

struct RecoveryFailure {
  Error error;
  std::vector<std::string> doubts;  // what could not be accepted, one line each
};

// Makes a new map of what the spares say. Nothing is written to spares or primary. The new map is opened and loaded as
// by a mount, before it gets its name. Lost and weak blocks are not known to a spare: their sectors are read from the
// primary again.
// Errors: those of read_surviving_tags(); stale (nothing vouches for what was found); foreign (spares of different
//   volumes, another primary), exists, not_found, permission, store.
// Memory: 100 bytes for each used slot.
tl::expected<Recovered, RecoveryFailure> recover_map(const RecoverySpec& spec);

}  // namespace remapfs::store
