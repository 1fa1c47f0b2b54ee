// SPDX-License-Identifier: Apache-2.0
#include "volume/block_reader.hpp"

#include <algorithm>

#include "volume/member.hpp"

namespace remapfs {

SectorMask widen(SectorMask mask, std::uint32_t logical_block) {
  const unsigned unit = logical_block / static_cast<unsigned>(kSectorSize);
  if (unit <= 1) return mask;
  SectorMask wide = 0;
  for (unsigned first = 0; first < 64; first += unit) {
    const SectorMask piece = BlockGeometry::mask_of(first, first + unit);
    if ((mask & piece) != 0) wide |= piece;
  }
  return wide;
}

SectorReading read_sectors(const BlockPlace& place, SectorMask wanted, std::span<std::byte> buffer,
                           const Deadline& deadline) {
  SectorReading reading;
  const std::uint32_t logical = place.device->geometry().logical_block;
  const unsigned unit = std::max(1U, logical / static_cast<unsigned>(kSectorSize));
  const SectorMask there = BlockGeometry::mask_of(0, (place.size + kSectorSize - 1) / kSectorSize);
  const SectorMask inside = BlockGeometry::mask_of(0, (place.used + kSectorSize - 1) / kSectorSize);
  // Sectors past the end of the disk need no reading.
  reading.good = wanted & ~inside;

  const auto read_piece = [&](unsigned first, unsigned last) {
    const std::uint64_t begin = first * kSectorSize;
    const std::uint64_t end = std::min(last * kSectorSize, place.size);
    return place.device->read_exact(place.begin + begin, buffer.subspan(begin, end - begin));
  };

  const auto read_unit = [&](unsigned first, int tries_left) {
    const unsigned last = first + unit;
    const SectorMask mask = BlockGeometry::mask_of(first, last) & there;
    while (tries_left > 0) {
      if (deadline.passed()) {
        reading.deadline_passed = true;
        return;
      }
      place.device->drop_cache(
          {place.begin + first * kSectorSize, place.begin + std::min(last * kSectorSize, place.size)});
      const auto piece = read_piece(first, last);
      if (piece) {
        reading.good |= mask;
        return;
      }
      if (!is_media_error(piece.error())) {
        reading.fatal = piece.error();
        return;
      }
      reading.retried = true;
      reading.media = piece.error();
      --tries_left;
    }
    reading.bad |= mask;
  };

  for_each_group(widen(wanted & inside, logical) & there, [&](unsigned first, unsigned last) {
    if (reading.fatal || reading.deadline_passed) return;
    const auto whole = read_piece(first, last);
    if (whole) {
      reading.good |= BlockGeometry::mask_of(first, last);
      return;
    }
    if (!is_media_error(whole.error())) {
      reading.fatal = whole.error();
      return;
    }
    reading.retried = true;
    reading.media = whole.error();
    // The failed access was the first try of a piece that is a single unit already.
    const int tries = last - first <= unit ? kTriesPerSector - 1 : kTriesPerSector;
    for (unsigned at = first; at < last && !reading.fatal && !reading.deadline_passed; at += unit) read_unit(at, tries);
  });
  // Nobody's data is past the end of the disk, and none can be lost there.
  reading.bad &= inside;
  return reading;
}

}  // namespace remapfs
