// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/units.hpp"
#include "volume/deadline.hpp"

namespace remapfs {

// Where the data of one block lies.
struct BlockPlace {
  BlockDevice* device = nullptr;
  ByteOffset begin;        // on the device
  std::uint64_t size = 0;  // bytes there: less than a block only for a partial last block on the primary
  std::uint64_t used = 0;  // bytes of the block inside the disk: less than a block only for a partial last block
};

// What came back from reading some sectors of a block.
struct SectorReading {
  SectorMask good = 0;           // read; their bytes are in the buffer
  SectorMask bad = 0;            // failed every try
  bool retried = false;          // some sector came back only after a failure
  bool deadline_passed = false;  // sectors in neither mask were not tried to the end
  std::optional<Error> fatal;    // an error that says nothing about a sector; reading stopped there
  std::optional<Error> media;    // the last media error
};

// Tries in total for each smallest piece: one, and two retries.
inline constexpr int kTriesPerSector = 3;

// Reads the `wanted` sectors of a block into `buffer` (block-sized, each sector at its place in the block), in as few
// accesses as work: neighbours together first, then one logical block of the device at a time with retries. Buffer
// bytes outside `good` are arbitrary. Sectors of one logical block live and die together, so `good` and `bad` may
// hold more than was wanted. Threads: any.
SectorReading read_sectors(const BlockPlace& place, SectorMask wanted, std::span<std::byte> buffer,
                           const Deadline& deadline);

// Calls visit(first, last) for each group of neighbouring set bits of the mask, [first, last) as bit numbers.
template <class Visit>
void for_each_group(SectorMask mask, Visit&& visit) {
  while (mask != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(mask));
    const auto length = static_cast<unsigned>(std::countr_one(mask >> first));
    visit(first, first + length);
    mask &= ~BlockGeometry::mask_of(first, first + length);
  }
}

// The mask widened to whole logical blocks of a device.
[[nodiscard]] SectorMask widen(SectorMask mask, std::uint32_t logical_block);

}  // namespace remapfs
