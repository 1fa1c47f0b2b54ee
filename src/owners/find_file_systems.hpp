// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "owners/owner.hpp"
#include "remapfs/error.hpp"

namespace remapfs::owners {

// The file systems on a disk, or in the partitions of its table (MBR, GPT and whatever else libblkid knows).
// descriptor: of the disk. Errors: device errors. Finding none is none.
Result<std::vector<FileSystem>> find_file_systems(int descriptor, ByteCount size);

}  // namespace remapfs::owners
