// SPDX-License-Identifier: Apache-2.0
#include "core/region_filter.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "remapfs/remap_table.hpp"
#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

BlockRange range(std::uint64_t begin, std::uint64_t end) { return {BlockIndex(begin), BlockIndex(end)}; }

TEST(RegionFilter, StaysWithin4MiBAndHasABitFor16BlocksWhereThatFits) {
  for (unsigned power = 0; power <= 55; ++power) {
    for (const int around : {-1, 0, 1}) {
      const std::uint64_t blocks = (std::uint64_t{1} << power) + static_cast<std::uint64_t>(around);
      if (blocks > RemapTable::kMaxBlocks) continue;
      const RegionFilter filter(process_memory(), blocks);
      ASSERT_TRUE(filter.ready());
      EXPECT_LE(filter.memory_bytes(), RegionFilter::kMaxBytes / 64 * 65) << blocks;
      EXPECT_GE(filter.region_shift(), 4U);
      if (blocks <= std::uint64_t{1} << 29U) {
        EXPECT_EQ(filter.region_shift(), 4U) << blocks;
      }
      if (filter.region_shift() > 4) {
        EXPECT_GT((blocks - 1) >> (filter.region_shift() - 1), RegionFilter::kMaxBytes * 8 - 1) << blocks;
      }
    }
  }
}

TEST(RegionFilter, FirstAndLastBlockOfTheLargestDiskCanBeMarked) {
  RegionFilter filter(process_memory(), RemapTable::kMaxBlocks);
  const BlockIndex last(RemapTable::kMaxBlocks - 1);
  EXPECT_TRUE(filter.nothing_in(range(0, RemapTable::kMaxBlocks)));
  filter.mark(filter.region_of(last));
  EXPECT_TRUE(filter.marked(last));
  EXPECT_FALSE(filter.nothing_in(range(0, RemapTable::kMaxBlocks)));
  EXPECT_TRUE(filter.nothing_in(range(0, filter.blocks_of(filter.region_of(last)).begin.value())));
  filter.mark(0);
  EXPECT_FALSE(filter.nothing_in(range(0, 1)));
}

TEST(RegionFilter, RangesPastTheEndOfTheDiskAreUnmarked) {
  RegionFilter filter(process_memory(), 100);
  for (std::uint64_t region = 0; region < 7; ++region) filter.mark(region);
  EXPECT_TRUE(filter.nothing_in(range(112, 1U << 20U)));
  EXPECT_FALSE(filter.marked(BlockIndex(112)));
  EXPECT_TRUE(filter.nothing_in(range(5, 5)));
  EXPECT_TRUE(filter.nothing_in(range(9, 5)));
}

TEST(RegionFilter, AgreesWithASetOfRegions) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  constexpr std::uint64_t kRegions = 64 * 64 * 3 + 5;
  RegionFilter filter(process_memory(), kRegions * 16);
  std::set<std::uint64_t> model;
  for (int round = 0; round < 20000; ++round) {
    const std::uint64_t around = random() % 4 * 4096 + random() % 5 * 63;
    const std::uint64_t region = std::min(around, kRegions - 1);
    switch (random() % 4) {
      case 0:
        filter.mark(region);
        model.insert(region);
        break;
      case 1:
        filter.clear(region);
        model.erase(region);
        break;
      case 2:
        if (random() % 100 == 0) {
          filter.clear_all();
          model.clear();
        }
        break;
      default: break;
    }
    const std::uint64_t first = random() % kRegions;
    const std::uint64_t end = first + random() % (kRegions + 100 - first);
    const auto next = model.lower_bound(first);
    std::optional<std::uint64_t> expected;
    if (next != model.end() && *next < end) expected = *next;
    ASSERT_EQ(filter.next_marked(first, end), expected) << first << "-" << end << " seed " << seed;
    ASSERT_EQ(filter.marked(BlockIndex(region * 16 + 15)), model.contains(region)) << " seed " << seed;
  }
}

TEST(RegionFilter, RefusedMemoryIsReported) {
  testing::ScarceMemory memory;
  memory.largest = 1000;
  const RegionFilter filter(memory, 1U << 20U);
  EXPECT_FALSE(filter.ready());
}

}  // namespace
}  // namespace remapfs
