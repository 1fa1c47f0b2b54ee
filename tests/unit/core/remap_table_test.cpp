// SPDX-License-Identifier: Apache-2.0
#include "remapfs/remap_table.hpp"

#include <gtest/gtest.h>

#include <map>

#include "core/packed_mapping.hpp"
#include "core/remap_table_factory.hpp"

namespace remapfs {
namespace {

constexpr std::uint64_t kBlocks = 1U << 20U;
constexpr SectorMask kFull = 0xff;

std::unique_ptr<RemapTable> make_table(std::uint64_t blocks = kBlocks) {
  auto table = RemapTable::create(blocks, BlockGeometry(4096));
  EXPECT_TRUE(table.has_value());
  return std::move(*table);
}

Mapping in_slot(std::uint64_t slot, SpareId spare = 1, SectorMask mask = kFull) {
  return {EntryState::remapped, {spare, SlotIndex(slot)}, mask};
}

TEST(RemapTable, EmptyTableHasNoEntries) {
  const auto table = make_table();
  EXPECT_EQ(table->size(), 0U);
  EXPECT_FALSE(table->find(BlockIndex(0)));
  EXPECT_TRUE(table->nothing_mapped({BlockIndex(0), BlockIndex(kBlocks)}));
  EXPECT_FALSE(table->next_entry(BlockIndex(0), BlockIndex(kBlocks)));
  EXPECT_FALSE(table->growth_refused());
}

TEST(RemapTable, FindReturnsExactlyWhatWasAssignedForEveryStateAndMask) {
  for (const std::uint64_t block_size : {512ULL, 4096ULL, 32768ULL}) {
    const BlockGeometry geometry(block_size);
    const auto table = RemapTable::create(kBlocks, geometry).value();
    std::map<std::uint64_t, Mapping> expected;
    std::uint64_t block = 0;
    for (const EntryState state : {EntryState::weak, EntryState::lost, EntryState::remapped, EntryState::poisoned}) {
      for (const SpareId spare : std::initializer_list<SpareId>{0, 1, 2, 127, 255}) {
        for (const std::uint64_t slot : {std::uint64_t{0}, std::uint64_t{1}, kMaxSlotsPerSpare - 1}) {
          for (const SectorMask mask : {SectorMask{0}, geometry.full_mask(), SectorMask{1}, geometry.full_mask() / 2,
                                        geometry.full_mask() ^ 1U}) {
            const Mapping mapping{state, {spare, SlotIndex(slot)}, mask};
            table->assign(BlockIndex(block), mapping);
            expected[block] = mapping;
            block += 3;
          }
        }
      }
    }
    for (const auto& [number, mapping] : expected) ASSERT_EQ(table->find(BlockIndex(number)), mapping) << number;
    EXPECT_EQ(table->size(), expected.size());
  }
}

TEST(RemapTable, FirstAndLastBlockOfTheLargestDiskHaveEntries) {
  const auto table = make_table(RemapTable::kMaxBlocks);
  const BlockIndex last(RemapTable::kMaxBlocks - 1);
  table->assign(BlockIndex(0), in_slot(1));
  table->assign(last, in_slot(2));
  EXPECT_EQ(table->find(BlockIndex(0)), in_slot(1));
  EXPECT_EQ(table->find(last), in_slot(2));
  EXPECT_EQ(table->next_entry(BlockIndex(1), BlockIndex(RemapTable::kMaxBlocks)), last);
  EXPECT_FALSE(table->find(BlockIndex(RemapTable::kMaxBlocks)));
  EXPECT_TRUE(table->erase(last));
  EXPECT_FALSE(table->find(last));
  EXPECT_LT(table->memory_bytes(), 5U << 20U);
}

TEST(RemapTable, MoreBlocksThanSixtyFourBitOffsetsReachAreRefused) {
  const auto table = RemapTable::create(RemapTable::kMaxBlocks + 1, BlockGeometry(512));
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code, Errc::invalid);
}

TEST(RemapTable, DiskWithoutBlocksHasNoEntries) {
  const auto table = make_table(0);
  EXPECT_FALSE(table->find(BlockIndex(0)));
  EXPECT_TRUE(table->nothing_mapped({BlockIndex(0), BlockIndex(100)}));
  EXPECT_FALSE(table->next_entry(BlockIndex(0), BlockIndex(100)));
}

TEST(RemapTable, EraseReportsWhetherThereWasAnEntry) {
  const auto table = make_table();
  table->assign(BlockIndex(7), in_slot(1));
  EXPECT_FALSE(table->erase(BlockIndex(8)));
  EXPECT_TRUE(table->erase(BlockIndex(7)));
  EXPECT_FALSE(table->erase(BlockIndex(7)));
  EXPECT_FALSE(table->erase(BlockIndex(kBlocks + 5)));
  EXPECT_EQ(table->size(), 0U);
}

TEST(RemapTable, ErasedBlockComesBackWithItsNewMappingOnly) {
  const auto table = make_table();
  table->assign(BlockIndex(7), in_slot(1, 1, 0x0f));
  table->erase(BlockIndex(7));
  table->assign(BlockIndex(7), in_slot(2));
  EXPECT_EQ(table->find(BlockIndex(7)), in_slot(2));
  table->assign(BlockIndex(7), in_slot(3, 1, 0x30));
  EXPECT_EQ(table->find(BlockIndex(7)), in_slot(3, 1, 0x30));
}

TEST(RemapTable, RegionSaysNothingMappedAgainOnlyAfterItsLastEntryWentAway) {
  // Regions of 16 blocks, of 32, of 8192 (not looked through block by block) and of 2^30.
  for (const std::uint64_t blocks :
       {kBlocks, std::uint64_t{1} << 30U, std::uint64_t{1} << 38U, RemapTable::kMaxBlocks}) {
    const auto table = make_table(blocks);
    const BlockRange range{BlockIndex(32), BlockIndex(48)};
    table->assign(BlockIndex(kBlocks - 1), in_slot(1));  // far away, so that the table does not become empty
    table->assign(BlockIndex(40), in_slot(2));
    table->assign(BlockIndex(41), in_slot(3));
    EXPECT_FALSE(table->nothing_mapped(range));
    table->erase(BlockIndex(41));
    EXPECT_FALSE(table->nothing_mapped(range)) << "block 40 is still there";
    EXPECT_EQ(table->find(BlockIndex(40)), in_slot(2));
    table->erase(BlockIndex(40));
    table->erase(BlockIndex(kBlocks - 1));
    EXPECT_TRUE(table->nothing_mapped(range));
    table->assign(BlockIndex(40), in_slot(4));
    EXPECT_FALSE(table->nothing_mapped(range));
    EXPECT_EQ(table->find(BlockIndex(40)), in_slot(4));
  }
}

TEST(RemapTable, ErasingTheLastEntryOfARegionClearsItWhileOthersRemain) {
  const auto table = make_table();
  table->assign(BlockIndex(1000), in_slot(1));
  for (std::uint64_t block = 32; block < 48; ++block) table->assign(BlockIndex(block), in_slot(block));
  for (std::uint64_t block = 32; block < 48; ++block) {
    EXPECT_FALSE(table->nothing_mapped({BlockIndex(32), BlockIndex(48)})) << block;
    table->erase(BlockIndex(block));
  }
  EXPECT_TRUE(table->nothing_mapped({BlockIndex(32), BlockIndex(48)}));
  EXPECT_FALSE(table->nothing_mapped({BlockIndex(0), BlockIndex(kBlocks)}));
}

TEST(RemapTable, EmptiedTableForgetsMarksOfRegionsTooLargeToLookThrough) {
  const auto table = make_table(RemapTable::kMaxBlocks);
  constexpr std::uint64_t kFarApart = std::uint64_t{1} << 33U;
  constexpr std::uint64_t kEntries = 20000;
  for (std::uint64_t i = 0; i < kEntries; ++i) table->assign(BlockIndex(i * kFarApart), in_slot(i));
  for (std::uint64_t i = 0; i < kEntries; ++i) ASSERT_TRUE(table->erase(BlockIndex(i * kFarApart)));
  table->assign(BlockIndex(0), in_slot(1));
  EXPECT_TRUE(table->nothing_mapped({BlockIndex(kFarApart), BlockIndex(RemapTable::kMaxBlocks)}));
  EXPECT_EQ(table->next_entry(BlockIndex(1), BlockIndex(RemapTable::kMaxBlocks)), std::nullopt);
}

TEST(RemapTable, NextEntryWalksThroughEveryEntryInOrder) {
  for (const std::uint64_t blocks : {kBlocks, std::uint64_t{1} << 36U, RemapTable::kMaxBlocks}) {
    const auto table = make_table(blocks);
    const std::uint64_t entries[] = {0, 1, 15, 16, 17, 4095, 4096, 70000, kBlocks - 1};
    for (const std::uint64_t block : entries) table->assign(BlockIndex(block), in_slot(block));
    table->assign(BlockIndex(500), in_slot(500));
    table->erase(BlockIndex(500));
    BlockIndex from(0);
    for (const std::uint64_t block : entries) {
      ASSERT_EQ(table->next_entry(from, BlockIndex(blocks)), BlockIndex(block)) << blocks;
      EXPECT_EQ(table->next_entry(BlockIndex(block), BlockIndex(block + 1)), BlockIndex(block));
      EXPECT_EQ(table->next_entry(from, BlockIndex(block)), std::nullopt) << "the end is not part of the range";
      from = BlockIndex(block + 1);
    }
    EXPECT_EQ(table->next_entry(from, BlockIndex(blocks)), std::nullopt);
    EXPECT_EQ(table->next_entry(BlockIndex(5), BlockIndex(5)), std::nullopt);
  }
}

TEST(RemapTable, ForEachVisitsEveryEntryOnceWithItsMask) {
  const auto table = make_table();
  std::map<std::uint64_t, Mapping> expected;
  for (std::uint64_t block = 0; block < 300; ++block) {
    expected[block * 7] = in_slot(block, 1, block % 256);
    table->assign(BlockIndex(block * 7), expected[block * 7]);
  }
  std::map<std::uint64_t, Mapping> seen;
  table->for_each([&](BlockIndex block, const Mapping& mapping) {
    EXPECT_TRUE(seen.emplace(block.value(), mapping).second) << block.value();
  });
  EXPECT_EQ(seen, expected);
}

TEST(RemapTable, ManyTablesDoNotMix) {
  const auto first = make_table();
  const auto second = make_table();
  first->assign(BlockIndex(5), in_slot(1));
  second->assign(BlockIndex(5), in_slot(2));
  EXPECT_EQ(first->find(BlockIndex(5)), in_slot(1));
  EXPECT_EQ(second->find(BlockIndex(5)), in_slot(2));
}

TEST(RemapTableDeathTest, EntriesThatCannotBeKeptAreRefusedLoudly) {
  const auto table = make_table(100);
  EXPECT_DEATH(table->assign(BlockIndex(100), in_slot(1)), "block_count");
  EXPECT_DEATH(table->assign(BlockIndex(1), in_slot(kMaxSlotsPerSpare)), "kMaxSlotsPerSpare");
  EXPECT_DEATH(table->assign(BlockIndex(1), in_slot(1, 1, 0x100)), "full_mask");
}

}  // namespace
}  // namespace remapfs
