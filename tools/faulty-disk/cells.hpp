// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "remapfs/units.hpp"

// The units of the faulty disk. Its medium is made of *cells*: a cell is what fails, is rewritten and recovers as a
// whole, the physical sector of a real drive (512 or 4096 bytes). Rules count in sectors, always 512 bytes.

namespace faulty {

using remapfs::ByteCount;
using remapfs::ByteOffset;
using remapfs::ByteRange;

// Number of a cell from the start of the disk.
using CellIndex = remapfs::Quantity<struct CellIndexTag>;
// Number of a 512-byte sector from the start of the disk, as rules name it.
using SectorIndex = remapfs::Quantity<struct SectorIndexTag>;

// A half-open range of cells [begin, end).
struct CellRange {
  CellIndex begin;
  CellIndex end;

  [[nodiscard]] constexpr std::uint64_t size() const { return empty() ? 0 : (end - begin).value(); }
  [[nodiscard]] constexpr bool empty() const { return begin >= end; }
  [[nodiscard]] constexpr bool contains(CellIndex cell) const { return begin <= cell && cell < end; }
  friend constexpr bool operator==(CellRange, CellRange) = default;
};

[[nodiscard]] constexpr CellRange intersection(CellRange a, CellRange b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

// A half-open range of sectors [begin, end).
struct SectorRange {
  SectorIndex begin;
  SectorIndex end;

  friend constexpr bool operator==(SectorRange, SectorRange) = default;
};

// Size of the disk and of its cells. The last cell may be partial.
class DiskShape {
 public:
  // cell_size is a power of two, at least 512.
  constexpr DiskShape(ByteCount size, std::uint32_t cell_size) : size_(size), cell_size_(cell_size) {}

  [[nodiscard]] constexpr ByteCount size() const { return size_; }
  [[nodiscard]] constexpr ByteOffset end() const { return ByteOffset(size_.value()); }
  [[nodiscard]] constexpr std::uint32_t cell_size() const { return cell_size_; }
  [[nodiscard]] constexpr std::uint64_t sectors() const {
    return (size_.value() + remapfs::kSectorSize - 1) / remapfs::kSectorSize;
  }
  [[nodiscard]] constexpr CellRange all() const { return {CellIndex(0), ceil_cell(end())}; }

  // The cells that a range of bytes touches, even if only in part.
  [[nodiscard]] constexpr CellRange touching(ByteRange bytes) const {
    if (bytes.empty()) return {floor_cell(bytes.begin), floor_cell(bytes.begin)};
    return {floor_cell(bytes.begin), ceil_cell(bytes.end)};
  }
  // The cells that a range of bytes covers entirely. A partial last cell is covered up to the end of the disk.
  [[nodiscard]] constexpr CellRange covered(ByteRange bytes) const {
    const CellRange range{ceil_cell(bytes.begin), bytes.end >= end() ? all().end : floor_cell(bytes.end)};
    return range.empty() ? CellRange{range.begin, range.begin} : range;
  }
  [[nodiscard]] constexpr CellRange touching(SectorRange sectors) const { return touching(bytes_of(sectors)); }
  [[nodiscard]] constexpr CellRange covered(SectorRange sectors) const { return covered(bytes_of(sectors)); }

  [[nodiscard]] constexpr ByteOffset begin_of(CellIndex cell) const { return ByteOffset(cell.value() * cell_size_); }
  [[nodiscard]] constexpr ByteRange bytes_of(CellRange cells) const {
    return {begin_of(cells.begin), std::min(begin_of(cells.end), end())};
  }

 private:
  [[nodiscard]] constexpr ByteRange bytes_of(SectorRange sectors) const {
    return {ByteOffset(sectors.begin.value() * remapfs::kSectorSize),
            std::min(ByteOffset(sectors.end.value() * remapfs::kSectorSize), end())};
  }
  [[nodiscard]] constexpr CellIndex floor_cell(ByteOffset at) const { return CellIndex(at.value() / cell_size_); }
  [[nodiscard]] constexpr CellIndex ceil_cell(ByteOffset at) const {
    return CellIndex((at.value() + cell_size_ - 1) / cell_size_);
  }

  ByteCount size_;
  std::uint32_t cell_size_;
};

}  // namespace faulty
