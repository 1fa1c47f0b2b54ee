// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <vector>

#include "remapfs/remap_table.hpp"

namespace remapfs {

// For failure messages.
void PrintTo(const Run& run, std::ostream* out) {
  constexpr const char* kNames[] = {"primary", "slot", "attention"};
  *out << kNames[static_cast<int>(run.kind)] << " [" << run.range.begin.value() << ", " << run.range.end.value()
       << ") slot " << int{run.first_slot.spare} << ":" << run.first_slot.slot.value();
}

bool operator==(const Run& a, const Run& b) {
  return a.kind == b.kind && a.range == b.range && a.first_slot == b.first_slot;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kBs = 4096;
constexpr SectorMask kFull = 0xff;

Run primary(std::uint64_t begin, std::uint64_t end) {
  return {RunKind::primary, {ByteOffset(begin), ByteOffset(end)}, {}};
}
Run slot(std::uint64_t begin, std::uint64_t end, std::uint64_t number, SpareId spare = 1) {
  return {RunKind::slot, {ByteOffset(begin), ByteOffset(end)}, {spare, SlotIndex(number)}};
}
Run attention(std::uint64_t begin, std::uint64_t end) {
  return {RunKind::attention, {ByteOffset(begin), ByteOffset(end)}, {}};
}

class RemapTableRuns : public ::testing::Test {
 protected:
  void remap(std::uint64_t block, std::uint64_t number, SpareId spare = 1, SectorMask mask = kFull) {
    table->assign(BlockIndex(block), {EntryState::remapped, {spare, SlotIndex(number)}, mask});
  }
  void put(std::uint64_t block, EntryState state, SectorMask mask = kFull) {
    table->assign(BlockIndex(block), {state, {}, mask});
  }
  std::vector<remapfs::Run> runs(std::uint64_t begin, std::uint64_t end) {
    std::vector<remapfs::Run> result;
    EXPECT_TRUE(table->for_each_run({ByteOffset(begin), ByteOffset(end)}, [&](const remapfs::Run& run) {
      result.push_back(run);
      return true;
    }));
    return result;
  }

  std::unique_ptr<RemapTable> table = RemapTable::create(1U << 20U, BlockGeometry(kBs)).value();
};

TEST_F(RemapTableRuns, EmptyRequestHasNoRuns) {
  remap(0, 1);
  EXPECT_THAT(runs(100, 100), IsEmpty());
}

TEST_F(RemapTableRuns, RequestInAnEmptyTableIsOnePrimaryRun) {
  EXPECT_THAT(runs(100, 1U << 20U), ElementsAre(primary(100, 1U << 20U)));
}

TEST_F(RemapTableRuns, RequestNextToARemapIsOnePrimaryRun) {
  remap(10, 5);
  EXPECT_THAT(runs(9 * kBs, 10 * kBs), ElementsAre(primary(9 * kBs, 10 * kBs)));
  EXPECT_THAT(runs(11 * kBs, 12 * kBs), ElementsAre(primary(11 * kBs, 12 * kBs)));
}

TEST_F(RemapTableRuns, RequestAcrossOneRemapYieldsThreeRuns) {
  remap(10, 5);
  EXPECT_THAT(
      runs(9 * kBs + 512, 12 * kBs - 512),
      ElementsAre(primary(9 * kBs + 512, 10 * kBs), slot(10 * kBs, 11 * kBs, 5), primary(11 * kBs, 12 * kBs - 512)));
}

TEST_F(RemapTableRuns, PartOfARemappedBlockIsARunOfItsSlot) {
  remap(10, 5);
  EXPECT_THAT(runs(10 * kBs + 512, 10 * kBs + 1024), ElementsAre(slot(10 * kBs + 512, 10 * kBs + 1024, 5)));
  EXPECT_THAT(runs(10 * kBs + 4095, 11 * kBs + 1),
              ElementsAre(slot(10 * kBs + 4095, 11 * kBs, 5), primary(11 * kBs, 11 * kBs + 1)));
  EXPECT_THAT(runs(9 * kBs + 4095, 10 * kBs + 1),
              ElementsAre(primary(9 * kBs + 4095, 10 * kBs), slot(10 * kBs, 10 * kBs + 1, 5)));
}

TEST_F(RemapTableRuns, NeighbouringBlocksInNeighbouringSlotsAreOneRun) {
  for (std::uint64_t block = 10; block < 20; ++block) remap(block, block + 90);
  EXPECT_THAT(runs(10 * kBs + 512, 20 * kBs - 512), ElementsAre(slot(10 * kBs + 512, 20 * kBs - 512, 100)));
}

TEST_F(RemapTableRuns, RunIsCutWhereSlotsAreNotConsecutive) {
  remap(10, 100);
  remap(11, 101);
  remap(12, 101);  // the same number once more
  remap(13, 100);  // descending
  remap(14, 102);  // a gap
  EXPECT_THAT(runs(10 * kBs, 15 * kBs), ElementsAre(slot(10 * kBs, 12 * kBs, 100), slot(12 * kBs, 13 * kBs, 101),
                                                    slot(13 * kBs, 14 * kBs, 100), slot(14 * kBs, 15 * kBs, 102)));
}

TEST_F(RemapTableRuns, RunIsCutWhereTheSpareChanges) {
  remap(10, 100, 1);
  remap(11, 101, 2);
  EXPECT_THAT(runs(10 * kBs, 12 * kBs),
              ElementsAre(slot(10 * kBs, 11 * kBs, 100, 1), slot(11 * kBs, 12 * kBs, 101, 2)));
}

TEST_F(RemapTableRuns, WeakBlocksAreServedByThePrimary) {
  put(10, EntryState::weak);
  put(11, EntryState::weak, 0);
  EXPECT_THAT(runs(9 * kBs, 13 * kBs), ElementsAre(primary(9 * kBs, 13 * kBs)));
}

TEST_F(RemapTableRuns, EveryBlockThatNeedsAttentionIsARunOfItsOwn) {
  put(10, EntryState::lost, 0);
  put(11, EntryState::lost, 0xfe);
  put(12, EntryState::lost);  // even when its mask claims that all is well
  put(13, EntryState::poisoned);
  remap(14, 1, 1, 0x7f);
  remap(15, 2, 1, 0);
  EXPECT_THAT(runs(10 * kBs + 512, 16 * kBs + 512),
              ElementsAre(attention(10 * kBs + 512, 11 * kBs), attention(11 * kBs, 12 * kBs),
                          attention(12 * kBs, 13 * kBs), attention(13 * kBs, 14 * kBs), attention(14 * kBs, 15 * kBs),
                          attention(15 * kBs, 16 * kBs), primary(16 * kBs, 16 * kBs + 512)));
}

TEST_F(RemapTableRuns, PartlyValidBlockInterruptsARunOfSlots) {
  for (std::uint64_t block = 10; block < 13; ++block) remap(block, block);
  remap(11, 11, 1, 0x01);
  EXPECT_THAT(runs(10 * kBs, 13 * kBs),
              ElementsAre(slot(10 * kBs, 11 * kBs, 10), attention(11 * kBs, 12 * kBs), slot(12 * kBs, 13 * kBs, 12)));
}

TEST_F(RemapTableRuns, RunsContinueAcrossBatchesOfTheTable) {
  // Requests of more than 256 blocks are probed in several batches; no run may be cut there.
  for (std::uint64_t block = 100; block < 1000; ++block) remap(block, block + 7);
  EXPECT_THAT(runs(0, 2000 * kBs),
              ElementsAre(primary(0, 100 * kBs), slot(100 * kBs, 1000 * kBs, 107), primary(1000 * kBs, 2000 * kBs)));
  remap(256, 5000);
  EXPECT_THAT(runs(100 * kBs, 600 * kBs), ElementsAre(slot(100 * kBs, 256 * kBs, 107), slot(256 * kBs, 257 * kBs, 5000),
                                                      slot(257 * kBs, 600 * kBs, 264)));
}

TEST_F(RemapTableRuns, VisitorStopsTheWalkWhenItReturnsFalse) {
  remap(10, 5);
  for (int stop_at = 1; stop_at <= 3; ++stop_at) {
    int calls = 0;
    EXPECT_FALSE(table->for_each_run({ByteOffset(9 * kBs), ByteOffset(12 * kBs)},
                                     [&](const remapfs::Run&) { return ++calls != stop_at; }));
    EXPECT_EQ(calls, stop_at);
  }
}

TEST_F(RemapTableRuns, VisitorMayChangeTheTable) {
  for (std::uint64_t block = 0; block < 1000; block += 2) remap(block, block);
  int calls = 0;
  table->for_each_run({ByteOffset(0), ByteOffset(1000 * kBs)}, [&](const remapfs::Run& run) {
    ++calls;
    const std::uint64_t block = run.range.begin.value() / kBs;
    table->erase(BlockIndex(block));
    for (std::uint64_t more = 0; more < 50; ++more) remap(10000 + 50 * block + more, more);
    return table->find(BlockIndex(block)) == std::nullopt;
  });
  EXPECT_EQ(calls, 1000);
}

TEST_F(RemapTableRuns, LastPartialBlockOfTheDiskIsPartOfItsRun) {
  table = RemapTable::create(11, BlockGeometry(kBs)).value();
  remap(9, 4);
  remap(10, 5);
  EXPECT_THAT(runs(8 * kBs, 10 * kBs + 512), ElementsAre(primary(8 * kBs, 9 * kBs), slot(9 * kBs, 10 * kBs + 512, 4)));
}

TEST_F(RemapTableRuns, EveryBlockSizeCutsAtItsOwnBoundaries) {
  for (std::uint64_t size = 512; size <= 32768; size *= 2) {
    const BlockGeometry geometry(size);
    table = RemapTable::create(1000, geometry).value();
    table->assign(BlockIndex(3), {EntryState::remapped, {1, SlotIndex(8)}, geometry.full_mask()});
    EXPECT_THAT(runs(2 * size, 5 * size),
                ElementsAre(primary(2 * size, 3 * size), slot(3 * size, 4 * size, 8), primary(4 * size, 5 * size)));
  }
}

}  // namespace
}  // namespace remapfs
