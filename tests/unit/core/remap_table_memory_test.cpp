// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "core/hash_layer.hpp"
#include "core/remap_table_factory.hpp"
#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

constexpr std::uint64_t kBlocks = 1U << 24U;
constexpr SectorMask kFull = 0xff;
constexpr SectorMask kPartial = 0x5a;
constexpr std::size_t kSmallestLayer = HashLayer::bytes_of(HashLayer::kMinPlaces);
// An empty table has one such layer for its entries; masks and runs may each keep one when they have come and gone.
constexpr std::size_t kAfterUse = 2 * kSmallestLayer;

Mapping in_slot(std::uint64_t slot, SectorMask mask = kFull) {
  return {EntryState::remapped, {1, SlotIndex(slot)}, mask};
}

class RemapTableMemory : public ::testing::Test {
 protected:
  void expect_entries(std::uint64_t count, SectorMask mask = kFull) {
    ASSERT_EQ(table->size(), count);
    for (std::uint64_t block = 0; block < count; ++block) {
      ASSERT_EQ(table->find(BlockIndex(block)), in_slot(block, mask)) << block;
    }
    EXPECT_FALSE(table->find(BlockIndex(count)));
  }

  testing::ScarceMemory memory;
  std::unique_ptr<RemapTable> table = RemapTableFactory::create(kBlocks, BlockGeometry(4096), memory).value();
};

TEST_F(RemapTableMemory, CreationReportsRefusedMemory) {
  for (const std::size_t budget : {std::size_t{0}, std::size_t{1} << 20U}) {
    testing::ScarceMemory poor;
    poor.budget = budget;
    const auto refused = RemapTableFactory::create(std::uint64_t{1} << 40U, BlockGeometry(4096), poor);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::no_memory);
  }
  testing::ScarceMemory only_filter;
  only_filter.budget = 600;  // 66 words of filter, no hash array
  EXPECT_FALSE(RemapTableFactory::create(64 * 64 * 16, BlockGeometry(4096), only_filter).has_value());
  EXPECT_GT(only_filter.requests, 1U);
}

TEST_F(RemapTableMemory, RefusedGrowthPutsEntriesIntoOverflowLayersAndLosesNothing) {
  memory.largest = HashLayer::bytes_of(1024);
  for (std::uint64_t block = 0; block < 5000; ++block) {
    table->assign(BlockIndex(block), in_slot(block));
    if (block % 500 == 0) expect_entries(block + 1);
  }
  EXPECT_TRUE(table->growth_refused());
  expect_entries(5000);
  // Even the smallest size only.
  memory.largest = kSmallestLayer;
  for (std::uint64_t block = 5000; block < 6000; ++block) table->assign(BlockIndex(block), in_slot(block));
  expect_entries(6000);
  for (std::uint64_t block = 0; block < 6000; block += 2) ASSERT_TRUE(table->erase(BlockIndex(block)));
  for (std::uint64_t block = 0; block < 6000; ++block) {
    ASSERT_EQ(table->find(BlockIndex(block)).has_value(), block % 2 == 1);
  }
  for (std::uint64_t block = 0; block < 6000; block += 2) table->assign(BlockIndex(block), in_slot(block));
  expect_entries(6000);
}

TEST_F(RemapTableMemory, LayersMergeWhenMemoryIsBack) {
  memory.largest = kSmallestLayer;
  for (std::uint64_t block = 0; block < 500; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  ASSERT_TRUE(table->growth_refused());
  memory.largest = std::size_t{1} << 30U;
  for (std::uint64_t block = 500; block < 570; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  EXPECT_FALSE(table->growth_refused());
  expect_entries(570, kPartial);
}

TEST_F(RemapTableMemory, ReservationMergesLayersAtOnce) {
  memory.largest = kSmallestLayer;
  for (std::uint64_t block = 0; block < 500; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  memory.largest = std::size_t{1} << 30U;
  ASSERT_TRUE(table->reserve(1));
  EXPECT_FALSE(table->growth_refused());
  expect_entries(500, kPartial);
}

TEST_F(RemapTableMemory, ReservedAssignsNeverAllocateWhateverTheirMasks) {
  for (const SectorMask mask : {kFull, SectorMask{0}, kPartial}) {
    table = RemapTableFactory::create(kBlocks, BlockGeometry(4096), memory).value();
    ASSERT_TRUE(table->reserve(3000));
    const std::uint64_t before = memory.requests;
    memory.budget = 0;
    for (std::uint64_t block = 0; block < 3000; ++block) table->assign(BlockIndex(block), in_slot(block, mask));
    EXPECT_EQ(memory.requests, before);
    memory.budget = std::size_t{1} << 40U;
    expect_entries(3000, mask);
  }
}

// As a map is loaded: all entries first, masks as they turn up, entries many at a time.
TEST_F(RemapTableMemory, ReservationForFewPartialMasksTakesHalfTheMemoryAndHolds) {
  constexpr std::uint64_t kEntries = 60000;
  ASSERT_TRUE(table->reserve(kEntries));
  const std::uint64_t whole = table->memory_bytes();
  table = RemapTableFactory::create(kBlocks, BlockGeometry(4096), memory).value();
  ASSERT_TRUE(table->reserve(kEntries, 0));
  EXPECT_LT(table->memory_bytes(), whole * 6 / 10);

  std::vector<TableEntry> batch;
  for (std::uint64_t block = 0; block < kEntries; ++block) {
    batch.push_back({BlockIndex(block), in_slot(block, block % 100 == 0 ? kPartial : kFull)});
    if (batch.size() < 1000) continue;
    ASSERT_TRUE(table->reserve(0, 10));
    const std::uint64_t requests = memory.requests;
    table->assign(batch);
    EXPECT_EQ(memory.requests, requests);
    batch.clear();
  }
  EXPECT_EQ(table->size(), kEntries);
  EXPECT_LT(table->memory_bytes(), whole * 6 / 10);
  for (std::uint64_t block = 0; block < kEntries; ++block) {
    ASSERT_EQ(table->find(BlockIndex(block)), in_slot(block, block % 100 == 0 ? kPartial : kFull));
  }
}

TEST_F(RemapTableMemory, ReservationsInOverflowLayersHoldToo) {
  for (std::uint64_t block = 0; block < 40; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  memory.largest = kSmallestLayer;
  ASSERT_TRUE(table->reserve(1000));
  EXPECT_TRUE(table->growth_refused());
  memory.budget = 0;
  const std::uint64_t requests = memory.requests;
  for (std::uint64_t block = 40; block < 1040; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  EXPECT_EQ(memory.requests, requests) << "not even to merge the layers";
  expect_entries(1040, kPartial);
}

TEST_F(RemapTableMemory, ReservationSurvivesErasesThatShrinkTheTable) {
  for (std::uint64_t block = 0; block < 50000; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  ASSERT_TRUE(table->reserve(2000));
  const std::uint64_t before = table->memory_bytes();
  for (std::uint64_t block = 0; block < 50000; ++block) {
    table->erase(BlockIndex(block));
    // Half of it is used in between, by blocks that never had an entry.
    if (block % 50 == 0) {
      memory.budget = 0;
      table->assign(BlockIndex(100000 + block), in_slot(block, kPartial));
      memory.budget = std::size_t{1} << 40U;
    }
  }
  EXPECT_LT(table->memory_bytes(), before / 4);
  memory.budget = 0;
  for (std::uint64_t block = 0; block < 1000; ++block)
    table->assign(BlockIndex(200000 + block), in_slot(block, kPartial));
  EXPECT_EQ(table->size(), 2000U);
}

TEST_F(RemapTableMemory, ReservationsOfSeveralThreadsAddUp) {
  constexpr int kThreads = 8;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] { ASSERT_TRUE(table->reserve(300)); });
  }
  for (std::thread& thread : threads) thread.join();
  memory.budget = 0;
  threads.clear();
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 300; ++i) {
        table->assign(BlockIndex(static_cast<std::uint64_t>(t) * 10000 + i * 16), in_slot(i, kPartial));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table->size(), kThreads * 300U);
}

TEST_F(RemapTableMemory, RefusedReservationChangesNothing) {
  for (std::uint64_t block = 0; block < 40; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  ASSERT_TRUE(table->reserve(5));
  const std::uint64_t held = memory.in_use;
  memory.budget = held;
  for (const std::uint64_t count : {std::uint64_t{10000}, std::uint64_t{1} << 50U, ~std::uint64_t{0}}) {
    const auto refused = table->reserve(count);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::no_memory);
  }
  EXPECT_EQ(memory.in_use, held);
  memory.budget = 0;
  for (std::uint64_t block = 40; block < 45; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  expect_entries(45, kPartial);
}

TEST_F(RemapTableMemory, ReservationThatOnlyOneOfBothArraysCouldMakeIsTakenBack) {
  const std::uint64_t empty = table->memory_bytes();
  int refused = 0;
  // From too little for the array of entries to enough for both arrays.
  for (std::uint64_t i = 0; i < 100; ++i) {
    memory.budget = memory.in_use + i * kSmallestLayer;
    if (table->reserve(1000)) {
      table->unreserve(1000);
    } else {
      ++refused;
    }
    memory.budget = std::size_t{1} << 40U;
    // Were anything still reserved, this could not go back to the smallest arrays.
    ASSERT_TRUE(table->reserve(1));
    ASSERT_LE(table->memory_bytes(), empty + kAfterUse) << i;
    table->unreserve(1);
  }
  EXPECT_GT(refused, 30);
  EXPECT_LT(refused, 100);
}

TEST_F(RemapTableMemory, UnreservedPlacesAreGivenBack) {
  const std::uint64_t before = table->memory_bytes();
  ASSERT_TRUE(table->reserve(100000));
  EXPECT_GT(table->memory_bytes(), before + 100000 * 16);
  table->unreserve(100000);
  EXPECT_LE(table->memory_bytes(), before + kAfterUse);
  table->unreserve(5);  // none outstanding
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(RemapTableMemory, ReservationsThatAssignsUsedUpHoldNoMemory) {
  const std::uint64_t before = table->memory_bytes();
  for (int i = 0; i < 20000; ++i) {
    ASSERT_TRUE(table->reserve(1));
    table->assign(BlockIndex(7), in_slot(1, i % 2 == 0 ? kFull : kPartial));
  }
  EXPECT_LE(table->memory_bytes(), before + kAfterUse);
}

TEST_F(RemapTableMemory, EverythingIsReleasedInTheEnd) {
  for (std::uint64_t block = 0; block < 100000; ++block) table->assign(BlockIndex(block), in_slot(block, kPartial));
  EXPECT_EQ(memory.in_use % 8, 0U);
  EXPECT_GT(memory.in_use, 100000U * 32);
  table.reset();
  EXPECT_EQ(memory.in_use, 0U);
}

TEST_F(RemapTableMemory, MemoryBytesCountsWhatIsHeld) {
  for (std::uint64_t block = 0; block < 100000; ++block) {
    table->assign(BlockIndex(block), in_slot(block, block % 2 == 0 ? kPartial : kFull));
    if (block % 1000 != 0) continue;
    EXPECT_GE(table->memory_bytes(), memory.in_use);
    EXPECT_LE(table->memory_bytes(), memory.in_use + 4096);
  }
}

TEST(RemapTableMemoryDeathTest, AssignWithoutReservationEndsTheProgramWhenNoMemoryIsLeft) {
  testing::ScarceMemory memory;
  const auto table = RemapTableFactory::create(kBlocks, BlockGeometry(4096), memory).value();
  EXPECT_DEATH(
      {
        memory.budget = 0;
        for (std::uint64_t block = 0; block < 1000; ++block) table->assign(BlockIndex(block), in_slot(block));
      },
      "entries.put");
}

TEST(RemapTableSize, LargeTableHoldsAtMost32BytesAnEntryWhateverItsSize) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  const auto table = RemapTable::create(std::uint64_t{1} << 40U, BlockGeometry(4096)).value();
  std::vector<std::uint64_t> blocks;
  constexpr std::uint64_t kEntries = 10'000'000;
  constexpr std::uint64_t kFilterAndHeaders = (std::uint64_t{4} << 20U) / 64 * 65 + 4096;
  blocks.reserve(kEntries);
  while (table->size() < kEntries) {
    // Half in runs, half anywhere.
    const std::uint64_t first = random() >> 24U;
    for (std::uint64_t i = 0; i < (random() % 2 == 0 ? 1 : 30) && table->size() < kEntries; ++i) {
      const BlockIndex block(std::min(first + i, (std::uint64_t{1} << 40U) - 1));
      if (!table->find(block)) blocks.push_back(block.value());
      table->assign(block, in_slot(i));
      if (table->size() > 1'000'000 && table->size() % 4096 == 0) {
        ASSERT_LE(table->memory_bytes(), table->size() * 32 + kFilterAndHeaders) << "seed " << seed;
      }
    }
  }
  EXPECT_LE(table->memory_bytes(), kEntries * 32);
  // Emptied again, memory goes back on the way.
  while (blocks.size() > 1'000'000) {
    ASSERT_TRUE(table->erase(BlockIndex(blocks.back())));
    blocks.pop_back();
    if (blocks.size() % 65536 == 0) {
      ASSERT_LE(table->memory_bytes(), table->size() * 32 + kFilterAndHeaders) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace remapfs
