// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "owners/owner.hpp"
#include "remapfs/error.hpp"

namespace remapfs::owners {

// Gives commands to xfs_db(8) on the file system, read-only, and returns what it printed.
using AskXfs = std::function<Result<std::string>(const std::string& commands)>;

// Owners of sectors of an XFS file system, by xfs_db, which only reads. It looks at no file system whose log is not
// clean.
//
// runs: inside the file system; of more than kMostXfsBlocks blocks the rest is `unknown`.
// Errors: those of `ask`, corrupt (not a file system that xfs_db understands), busy (its log is not clean).
// Cost: xfs_db reads all metadata, and keeps a byte or more for each block of the file system.
inline constexpr std::size_t kMostXfsBlocks = 20'000;
Result<std::vector<Owner>> xfs_owners(const FileSystem& where, std::span<const SectorRun> runs, const AskXfs& ask);

// --- Its answers, for those who parse them. ---

struct XfsGeometry {
  std::uint64_t block_size = 0;
  std::uint64_t ag_blocks = 0;  // blocks of an allocation group
  std::uint64_t ag_block_bits = 0;
  std::uint64_t groups = 0;
};
[[nodiscard]] std::optional<XfsGeometry> parse_xfs_superblock(const std::string& text);

struct XfsUse {
  std::uint64_t group = 0;
  std::uint64_t block = 0;  // in the group
  std::string type;         // "data", "free2", "inode", ...
  std::uint64_t inode = 0;
  std::string path;
};
// What blockuse -n printed.
[[nodiscard]] std::optional<XfsUse> parse_xfs_use(const std::string& text);

struct XfsExtent {
  std::uint64_t offset = 0;  // in the file, all in blocks
  std::uint64_t group = 0;
  std::uint64_t block = 0;
  std::uint64_t count = 0;
};
[[nodiscard]] std::vector<XfsExtent> parse_xfs_bmap(const std::string& text);

}  // namespace remapfs::owners
