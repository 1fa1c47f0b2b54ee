// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include "remapfs/block_device.hpp"
#include "store/spare_format.hpp"

namespace remapfs::store {

// What the two superblocks of a device say, each for itself; errors as decode_superblock() and the device give them.
struct SuperblockCopies {
  std::array<Result<Superblock>, 2> copy{fail(Errc::not_found), fail(Errc::not_found)};

  [[nodiscard]] const Result<Superblock>& operator[](Copy which) const { return copy[static_cast<std::size_t>(which)]; }
  // Nothing is left of either: damaged, overwritten, or unreadable.
  [[nodiscard]] bool both_lost() const;
  // Both are there and equal.
  [[nodiscard]] bool agree() const { return copy[0] && copy[1] && *copy[0] == *copy[1]; }
};
// expected: where the copies should be; on a device that has grown, the second one is no longer at the end.
SuperblockCopies read_superblocks(BlockDevice& device, const SpareLayout& expected);
// The same for a device of which nothing is expected: the first copy says where the second one is, else the end.
SuperblockCopies read_superblocks(BlockDevice& device);

// Where the spare on a device begins for whose map nobody can be asked: at its beginning, or, when it is the end of a
// larger one, where the superblock at the end says. disk_before: only the latter, since at the beginning somebody's
// disk is. Errors: foreign (no superblock tells), device errors when it cannot be read; with a message.
Result<ByteOffset> find_spare(BlockDevice& device, bool disk_before);

// What a spare of a volume has to be.
struct ExpectedSpare {
  Uuid volume;
  Uuid spare;
  SpareId id = 1;
  SpareLayout layout;
};

// The superblock to believe: the valid one of this very spare with the highest watermark.
// Errors, each with a message about `device`: too_new, foreign (no spare, another volume's, another spare of this
//   volume), corrupt (damaged, or other numbers than the map's), device errors when neither copy can be read.
Result<Superblock> choose_superblock(const SuperblockCopies& copies, const ExpectedSpare& expected,
                                     const std::string& device);

// Nothing when watermark and map agree; otherwise `stale`, saying which side is older. One step behind is what a crash
// between a commit and its watermark leaves; a map that was closed in order must agree exactly.
Result<void> compare_watermark(Sequence watermark, Sequence map_sequence, bool map_clean, const std::string& device,
                               const std::string& map_path);

// Nothing when the map knows every spare that the superblock names; otherwise `stale`. A map hears of a spare before
// the others do, and remembers the number of one that left.
Result<void> compare_roll(const SpareRoll& roll, const SpareRoll::Numbers& known, const std::string& device,
                          const std::string& map_path);

// Which copies a superblock reached.
struct SuperblockWrite {
  std::array<Result<void>, 2> copy;

  [[nodiscard]] bool any() const { return copy[0].has_value() || copy[1].has_value(); }
  [[nodiscard]] bool all() const { return copy[0].has_value() && copy[1].has_value(); }
};
// Writes both copies, not durably yet. Errors: no_memory; whatever the device answers is in the result.
Result<SuperblockWrite> write_superblocks(BlockDevice& device, const Superblock& superblock);

}  // namespace remapfs::store
