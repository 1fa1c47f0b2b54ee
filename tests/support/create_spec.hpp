// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "store/create_volume.hpp"

namespace remapfs::testing {

// What create_volume() is asked for where the devices are simulated: their names and identities mean nothing.
inline store::CreateSpec simulated_spec(const std::string& map_path, ByteCount size, std::uint64_t block_size) {
  store::CreateSpec spec;
  spec.map_path = map_path;
  spec.label = "simulated";
  spec.block_size = block_size;
  spec.size = size;
  spec.primary_path = "/primary";
  spec.primary_identity = "disk of a test";
  spec.spare_path = "/spare";
  return spec;
}

}  // namespace remapfs::testing
