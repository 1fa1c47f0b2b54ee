// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "owners/owner.hpp"
#include "remapfs/error.hpp"

namespace remapfs::owners {

// Owners of sectors of an ext2, ext3 or ext4 file system, by libext2fs, which only reads. The journal is not replayed:
// of a mounted file system what its last minutes changed may be missing.
//
// disk: path of the disk. runs: inside the file system. Errors: corrupt (no superblock is readable, nor any copy),
// no_memory, device errors. What cannot be read of it only hides owners: those sectors are `unknown`.
// Cost: every inode is looked at, and the blocks of every file.
Result<std::vector<Owner>> ext_owners(const std::string& disk, const FileSystem& where,
                                      std::span<const SectorRun> runs);

}  // namespace remapfs::owners
