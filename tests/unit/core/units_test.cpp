// SPDX-License-Identifier: Apache-2.0
#include "remapfs/units.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace remapfs {
namespace {

constexpr std::uint64_t kSizes[] = {512, 1024, 2048, 4096, 8192, 16384, 32768};
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(BlockGeometry, AcceptsOnlyPowersOfTwoWithinBounds) {
  for (const std::uint64_t size : kSizes) EXPECT_TRUE(BlockGeometry::is_valid_block_size(size)) << size;
  for (const std::uint64_t size : {0ULL, 1ULL, 256ULL, 511ULL, 513ULL, 1536ULL, 4095ULL, 4097ULL, 32767ULL, 32769ULL,
                                   65536ULL, 0x8000000000000000ULL}) {
    EXPECT_FALSE(BlockGeometry::is_valid_block_size(size)) << size;
  }
}

TEST(BlockGeometry, SectorsAndFullMaskFollowFromTheBlockSize) {
  struct Row {
    std::uint64_t size;
    unsigned shift;
    unsigned sectors;
    SectorMask full;
  };
  constexpr Row kRows[] = {{512, 9, 1, 0x1},      {1024, 10, 2, 0x3},     {2048, 11, 4, 0xf},
                           {4096, 12, 8, 0xff},   {8192, 13, 16, 0xffff}, {16384, 14, 32, 0xffffffff},
                           {32768, 15, 64, ~0ULL}};
  for (const Row& row : kRows) {
    const BlockGeometry geometry(row.size);
    EXPECT_EQ(geometry.block_size(), row.size);
    EXPECT_EQ(geometry.shift(), row.shift);
    EXPECT_EQ(geometry.sectors_per_block(), row.sectors);
    EXPECT_EQ(geometry.full_mask(), row.full);
  }
}

TEST(BlockGeometry, OffsetsMapToBlocksAtEveryBoundary) {
  for (const std::uint64_t size : kSizes) {
    const BlockGeometry geometry(size);
    for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, (kMax / size) - 1}) {
      const std::uint64_t begin = block * size;
      EXPECT_EQ(geometry.begin_of(BlockIndex(block)), ByteOffset(begin));
      EXPECT_EQ(geometry.end_of(BlockIndex(block)), ByteOffset(begin + size));
      EXPECT_EQ(geometry.block_of(ByteOffset(begin)), BlockIndex(block));
      EXPECT_EQ(geometry.block_of(ByteOffset(begin + size - 1)), BlockIndex(block));
      EXPECT_EQ(geometry.block_of(ByteOffset(begin + size)), BlockIndex(block + 1));
      EXPECT_EQ(geometry.offset_in_block(ByteOffset(begin)), 0U);
      EXPECT_EQ(geometry.offset_in_block(ByteOffset(begin + 1)), 1U);
      EXPECT_EQ(geometry.offset_in_block(ByteOffset(begin + size - 1)), size - 1);
      EXPECT_EQ(geometry.offset_in_block(ByteOffset(begin + size)), 0U);
    }
  }
}

TEST(BlockGeometry, BlocksTouchingCountsBlocksTouchedInPart) {
  for (const std::uint64_t s : kSizes) {
    const BlockGeometry geometry(s);
    struct Row {
      std::uint64_t begin, end, first, after;
    };
    const Row rows[] = {{0, 0, 0, 0},     {0, 1, 0, 1},         {0, s, 0, 1},         {0, s + 1, 0, 2},
                        {s - 1, s, 0, 1}, {s - 1, s + 1, 0, 2}, {s, s, 1, 1},         {s, s + 1, 1, 2},
                        {s, 2 * s, 1, 2}, {1, 3 * s, 0, 3},     {1, 3 * s + 1, 0, 4}, {2 * s - 1, 2 * s, 1, 2},
                        {5, 5, 0, 0},     {s + 5, s + 5, 1, 1}, {2 * s, s, 2, 2},     {s / 2, s / 2 + 1, 0, 1}};
    for (const Row& row : rows) {
      const BlockRange blocks = geometry.blocks_touching({ByteOffset(row.begin), ByteOffset(row.end)});
      EXPECT_EQ(blocks, (BlockRange{BlockIndex(row.first), BlockIndex(row.after)}))
          << s << ": " << row.begin << "-" << row.end;
    }
  }
}

TEST(BlockGeometry, BlocksInRoundsTheLastPartialBlockUp) {
  for (const std::uint64_t s : kSizes) {
    const BlockGeometry geometry(s);
    EXPECT_EQ(geometry.blocks_in(ByteCount(0)), 0U);
    EXPECT_EQ(geometry.blocks_in(ByteCount(1)), 1U);
    EXPECT_EQ(geometry.blocks_in(ByteCount(s - 1)), 1U);
    EXPECT_EQ(geometry.blocks_in(ByteCount(s)), 1U);
    EXPECT_EQ(geometry.blocks_in(ByteCount(s + 1)), 2U);
    EXPECT_EQ(geometry.blocks_in(ByteCount(7 * s)), 7U);
  }
}

TEST(BlockGeometry, MaskOfSetsExactlyTheBitsOfTheRange) {
  for (unsigned first = 0; first <= 66; ++first) {
    for (unsigned last = 0; last <= 66; ++last) {
      if (first >= 64 && last > first) continue;  // no such sector
      SectorMask expected = 0;
      for (unsigned i = first; i < last && i < 64; ++i) expected |= SectorMask{1} << i;
      EXPECT_EQ(BlockGeometry::mask_of(first, last), expected) << first << "-" << last;
    }
  }
}

TEST(BlockGeometry, SectorsTouchedAndCoveredAgreeWithCountingBytes) {
  for (const std::uint64_t begin_sector : {0U, 1U, 31U, 62U, 63U}) {
    for (const std::uint64_t end_sector : {0U, 1U, 2U, 32U, 63U, 64U}) {
      for (const std::int64_t b : {-1, 0, 1, 511}) {
        for (const std::int64_t e : {-511, -1, 0, 1}) {
          const std::int64_t begin = static_cast<std::int64_t>(begin_sector * kSectorSize) + b;
          const std::int64_t end = static_cast<std::int64_t>(end_sector * kSectorSize) + e;
          if (begin < 0 || end < begin || end > static_cast<std::int64_t>(kMaxBlockSize)) continue;
          SectorMask touched = 0;
          SectorMask covered = 0;
          for (unsigned sector = 0; sector < 64; ++sector) {
            const std::int64_t from = sector * 512;
            if (begin < end && begin < from + 512 && from < end) touched |= SectorMask{1} << sector;
            if (begin <= from && from + 512 <= end) covered |= SectorMask{1} << sector;
          }
          const auto ub = static_cast<std::uint64_t>(begin);
          const auto ue = static_cast<std::uint64_t>(end);
          EXPECT_EQ(BlockGeometry::sectors_covered(ub, ue), covered) << begin << "-" << end;
          if (begin < end) {
            EXPECT_EQ(BlockGeometry::sectors_touching(ub, ue), touched) << begin << "-" << end;
          }
        }
      }
    }
  }
}

TEST(Units, RoundingAtEveryBoundary) {
  for (const std::uint64_t p : {1ULL, 2ULL, 512ULL, 4096ULL, 1ULL << 40U}) {
    EXPECT_EQ(round_down(0, p), 0U);
    EXPECT_EQ(round_up(0, p), 0U);
    EXPECT_EQ(round_down(3 * p, p), 3 * p);
    EXPECT_EQ(round_up(3 * p, p), 3 * p);
    EXPECT_EQ(round_up(3 * p - p + 1, p), p == 1 ? 3 : 3 * p);
    EXPECT_EQ(round_down(4 * p - 1, p), 3 * p);
    EXPECT_TRUE(is_aligned(5 * p, p));
    EXPECT_EQ(is_aligned(5 * p + 1, p), p == 1);
  }
}

TEST(Units, RangesAreHalfOpen) {
  const BlockRange range{BlockIndex(3), BlockIndex(5)};
  EXPECT_EQ(range.size(), 2U);
  EXPECT_FALSE(range.contains(BlockIndex(2)));
  EXPECT_TRUE(range.contains(BlockIndex(3)));
  EXPECT_TRUE(range.contains(BlockIndex(4)));
  EXPECT_FALSE(range.contains(BlockIndex(5)));
  EXPECT_TRUE(range.overlaps({BlockIndex(4), BlockIndex(9)}));
  EXPECT_TRUE(range.overlaps({BlockIndex(0), BlockIndex(4)}));
  EXPECT_FALSE(range.overlaps({BlockIndex(5), BlockIndex(9)}));
  EXPECT_FALSE(range.overlaps({BlockIndex(0), BlockIndex(3)}));
  EXPECT_TRUE((BlockRange{BlockIndex(3), BlockIndex(3)}).empty());
  EXPECT_TRUE((ByteRange{ByteOffset(3), ByteOffset(3)}).empty());
  EXPECT_EQ((ByteRange{ByteOffset(3), ByteOffset(10)}).size(), ByteCount(7));
}

}  // namespace
}  // namespace remapfs
