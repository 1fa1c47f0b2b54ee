// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/spare_device.hpp"
#include "cli/world.hpp"
#include "remapfs/map_store.hpp"

namespace remapfs::cli {

// What `create` was asked for.
struct CreationWish {
  std::string map;
  std::string primary;
  std::string spare;                        // empty: the end of the primary is
  std::optional<ByteCount> spare_size;      // make the spare
  std::optional<ByteCount> reserve;         // so much of the primary's end, without another spare
  std::optional<std::uint64_t> block_size;  // a valid one
  std::string label;
  bool force = false;  // overwrite a spare that carries a file system or belongs to another volume
};

struct Creation {
  VolumeInfo info;
  std::vector<std::string> warnings;
};

// Makes a volume. The primary is not changed, but for what is reserved. After an error nothing is left behind: no map,
// no spare that was not there, and a spare that was there, or the reserve, is untouched unless writing to it had begun,
// in which case it has no superblock.
tl::expected<Creation, CreationFailure> create(const CreationWish& wish, const World& world);

}  // namespace remapfs::cli
