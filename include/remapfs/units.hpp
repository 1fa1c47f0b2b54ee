// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>

// Offsets, counts and indices as distinct types: a block number cannot be passed where a sector or a byte is meant.
// All of them are one machine word and cost what the word costs. Ranges are half open everywhere.

namespace remapfs {

// A non-negative 64-bit quantity of one unit. Arithmetic stays within the unit; crossing units goes through the
// named functions below. Overflow is the caller's duty: outside input is checked where it comes in.
template <class Tag>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(std::uint64_t value) : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.value_ + b.value_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.value_ - b.value_); }
  friend constexpr Quantity operator+(Quantity a, std::uint64_t b) { return Quantity(a.value_ + b); }
  friend constexpr Quantity operator-(Quantity a, std::uint64_t b) { return Quantity(a.value_ - b); }
  constexpr Quantity& operator+=(std::uint64_t n) { return value_ += n, *this; }
  constexpr Quantity& operator++() { return ++value_, *this; }

 private:
  std::uint64_t value_ = 0;
};

// Distance from the start of a device or of the virtual disk, in bytes.
using ByteOffset = Quantity<struct ByteOffsetTag>;
// A length, in bytes.
using ByteCount = Quantity<struct ByteCountTag>;
// Number of a block (the remap unit) on the primary.
using BlockIndex = Quantity<struct BlockIndexTag>;
// Number of a slot (a block-sized place) on one spare.
using SlotIndex = Quantity<struct SlotIndexTag>;
// Position in a spare's series of commits; 0 is "before the first".
using Sequence = Quantity<struct SequenceTag>;

constexpr ByteOffset operator+(ByteOffset offset, ByteCount count) {
  return ByteOffset(offset.value() + count.value());
}
constexpr ByteOffset operator-(ByteOffset offset, ByteCount count) {
  return ByteOffset(offset.value() - count.value());
}
constexpr ByteCount distance(ByteOffset from, ByteOffset to) { return ByteCount(to.value() - from.value()); }

inline constexpr std::uint64_t kSectorSize = 512;
inline constexpr std::uint64_t kMinBlockSize = 512;
inline constexpr std::uint64_t kMaxBlockSize = 32768;
inline constexpr std::uint64_t kDefaultBlockSize = 4096;
// Requests never exceed this: the kernel's fs.fuse.max_pages_limit default of 256 pages.
inline constexpr std::uint64_t kMaxRequestSize = 1U << 20U;

// A half-open range of bytes [begin, end).
struct ByteRange {
  ByteOffset begin;
  ByteOffset end;

  [[nodiscard]] constexpr ByteCount size() const { return distance(begin, end); }
  [[nodiscard]] constexpr bool empty() const { return begin >= end; }
  friend constexpr bool operator==(ByteRange, ByteRange) = default;
};

// A half-open range of blocks [begin, end).
struct BlockRange {
  BlockIndex begin;
  BlockIndex end;

  [[nodiscard]] constexpr std::uint64_t size() const { return end.value() - begin.value(); }
  [[nodiscard]] constexpr bool empty() const { return begin >= end; }
  [[nodiscard]] constexpr bool contains(BlockIndex block) const { return begin <= block && block < end; }
  [[nodiscard]] constexpr bool overlaps(BlockRange other) const { return begin < other.end && other.begin < end; }
  friend constexpr bool operator==(BlockRange, BlockRange) = default;
};

// One bit per sector of a block, least significant first: bit i speaks for sector i. A block has 1 to 64 sectors.
// A set bit says the sector can be read where the block's data lives. Bits of sectors past the end of the disk (in a
// partial last block) are kept set, so that "all valid" is one constant per block size.
using SectorMask = std::uint64_t;

// Size of the remap unit and the arithmetic that follows from it.
class BlockGeometry {
 public:
  // block_size must satisfy is_valid_block_size().
  constexpr explicit BlockGeometry(std::uint64_t block_size)
      : shift_(static_cast<unsigned>(std::countr_zero(block_size))) {}

  [[nodiscard]] static constexpr bool is_valid_block_size(std::uint64_t n) {
    return n >= kMinBlockSize && n <= kMaxBlockSize && std::has_single_bit(n);
  }

  [[nodiscard]] constexpr std::uint64_t block_size() const { return std::uint64_t{1} << shift_; }
  [[nodiscard]] constexpr unsigned shift() const { return shift_; }
  [[nodiscard]] constexpr unsigned sectors_per_block() const { return 1U << (shift_ - 9U); }
  [[nodiscard]] constexpr SectorMask full_mask() const {
    return sectors_per_block() == 64 ? ~SectorMask{0} : (SectorMask{1} << sectors_per_block()) - 1;
  }

  [[nodiscard]] constexpr BlockIndex block_of(ByteOffset offset) const { return BlockIndex(offset.value() >> shift_); }
  [[nodiscard]] constexpr std::uint64_t offset_in_block(ByteOffset offset) const {
    return offset.value() & (block_size() - 1);
  }
  [[nodiscard]] constexpr ByteOffset begin_of(BlockIndex block) const { return ByteOffset(block.value() << shift_); }
  [[nodiscard]] constexpr ByteOffset end_of(BlockIndex block) const { return begin_of(block) + block_size(); }

  // The blocks that a range of bytes touches, even if only in part.
  [[nodiscard]] constexpr BlockRange blocks_touching(ByteRange range) const {
    if (range.empty()) return {block_of(range.begin), block_of(range.begin)};
    return {block_of(range.begin), block_of(range.end - 1) + 1};
  }

  // The number of blocks of a disk of this size; the last one may be partial.
  [[nodiscard]] constexpr std::uint64_t blocks_in(ByteCount size) const {
    return (size.value() + block_size() - 1) >> shift_;
  }

  // Mask of the sectors that [begin, end), offsets inside one block, touches even in part.
  [[nodiscard]] static constexpr SectorMask sectors_touching(std::uint64_t begin, std::uint64_t end) {
    return mask_of(begin / kSectorSize, (end + kSectorSize - 1) / kSectorSize);
  }
  // Mask of the sectors that [begin, end), offsets inside one block, covers entirely.
  [[nodiscard]] static constexpr SectorMask sectors_covered(std::uint64_t begin, std::uint64_t end) {
    return mask_of((begin + kSectorSize - 1) / kSectorSize, end / kSectorSize);
  }
  // Mask with the bits [first, last) set; empty when last <= first.
  [[nodiscard]] static constexpr SectorMask mask_of(std::uint64_t first, std::uint64_t last) {
    if (last <= first) return 0;
    const SectorMask below_last = last >= 64 ? ~SectorMask{0} : (SectorMask{1} << last) - 1;
    return below_last & ~((SectorMask{1} << first) - 1);
  }

 private:
  unsigned shift_;
};

[[nodiscard]] constexpr std::uint64_t round_down(std::uint64_t n, std::uint64_t power_of_two) {
  return n & ~(power_of_two - 1);
}
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t power_of_two) {
  return (n + power_of_two - 1) & ~(power_of_two - 1);
}
[[nodiscard]] constexpr bool is_aligned(std::uint64_t n, std::uint64_t power_of_two) {
  return (n & (power_of_two - 1)) == 0;
}

}  // namespace remapfs

template <class Tag>
struct std::hash<remapfs::Quantity<Tag>> {
  std::size_t operator()(remapfs::Quantity<Tag> q) const noexcept { return std::hash<std::uint64_t>{}(q.value()); }
};
