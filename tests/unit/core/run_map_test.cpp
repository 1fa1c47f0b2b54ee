// SPDX-License-Identifier: Apache-2.0
#include "core/run_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>

#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

constexpr SectorMask kFull = 0xff;

struct Blocks {
  std::uint64_t begin;
  std::uint64_t end;
  friend bool operator==(Blocks, Blocks) = default;
};
void PrintTo(Blocks blocks, std::ostream* out) { *out << blocks.begin << "-" << blocks.end; }
constexpr Blocks kNone{0, 0};

class RunMapTest : public ::testing::Test {
 protected:
  static PackedMapping in_slot(std::uint64_t slot, SpareId spare = 1) {
    return PackedMapping({EntryState::remapped, {spare, SlotIndex(slot)}, kFull}, kFull);
  }

  // As the table changes an entry.
  void assign(std::uint64_t block, PackedMapping mapping) {
    runs.take_out(block);
    ASSERT_TRUE(entries.put(block, mapping.word()));
    runs.put_in(entries, block, mapping, may_grow);
  }
  void assign(Blocks blocks, std::uint64_t first_slot) {
    for (std::uint64_t block = blocks.begin; block < blocks.end; ++block) {
      assign(block, in_slot(first_slot + (block - blocks.begin)));
    }
  }
  void erase(std::uint64_t block) {
    runs.take_out(block);
    entries.erase(block);
  }

  // The blocks that the run of a window contains, each of which must be what its entry says.
  [[nodiscard]] Blocks run_of(std::uint64_t window) {
    const EpochGuard guard;
    const std::uint64_t first = window * WindowRun::kWindow;
    Blocks blocks = kNone;
    for (std::uint64_t block = first; block < first + WindowRun::kWindow; ++block) {
      const WindowRun run = runs.run_near(guard, block);
      const std::uint64_t word = runs.find(guard, block);
      EXPECT_EQ(run.contains(block), word != 0);
      if (word == 0) continue;
      EXPECT_EQ(word, entries.find(guard, block)) << block;
      EXPECT_EQ(PackedMapping(word).where(), run.where(block));
      EXPECT_LE(run.begin(block), block);
      EXPECT_GT(run.end(block), block);
      if (blocks == kNone) blocks = {block, block};
      EXPECT_EQ(blocks.end, block) << "a run has no gap";
      blocks.end = block + 1;
    }
    return blocks;
  }

  testing::ScarceMemory memory;
  BlockMap entries{memory};
  RunMap runs{memory};
  bool may_grow = true;
};

TEST_F(RunMapTest, NeighboursInNeighbouringSlotsAreARunFromSixOn) {
  assign({32, 37}, 100);
  EXPECT_EQ(run_of(2), kNone);
  assign(37, in_slot(105));
  EXPECT_EQ(run_of(2), (Blocks{32, 38}));
  assign({38, 48}, 106);
  EXPECT_EQ(run_of(2), (Blocks{32, 48}));
  EXPECT_EQ(run_of(1), kNone);
  EXPECT_EQ(run_of(3), kNone);
}

TEST_F(RunMapTest, RunGrowsAtBothEndsWhateverTheOrder) {
  for (const std::uint64_t block : {8U, 6U, 10U, 7U, 5U, 9U}) assign(block, in_slot(100 + block));
  EXPECT_EQ(run_of(0), (Blocks{5, 11}));
  for (std::uint64_t block = 5; block-- > 0;) assign(block, in_slot(100 + block));
  EXPECT_EQ(run_of(0), (Blocks{0, 11}));
  for (std::uint64_t block = 11; block < 16; ++block) assign(block, in_slot(100 + block));
  EXPECT_EQ(run_of(0), (Blocks{0, 16}));
}

TEST_F(RunMapTest, OnlyWholeBlocksInTheNextSlotOfTheSameSpareContinueARun) {
  assign({0, 8}, 100);
  const PackedMapping partial({EntryState::remapped, {1, SlotIndex(108)}, 0x0f}, kFull);
  const PackedMapping lost({EntryState::lost, {}, 0}, kFull);
  const PackedMapping poisoned({EntryState::poisoned, {1, SlotIndex(108)}, kFull}, kFull);
  const PackedMapping weak({EntryState::weak, {}, kFull}, kFull);
  for (const PackedMapping& other : {partial, lost, poisoned, weak, in_slot(109), in_slot(107), in_slot(108, 2)}) {
    assign(8, other);
    EXPECT_EQ(run_of(0), (Blocks{0, 8}));
  }
  assign(8, in_slot(108));
  EXPECT_EQ(run_of(0), (Blocks{0, 9}));
}

TEST_F(RunMapTest, BlockThatChangesLeavesTheLargerPart) {
  assign({16, 32}, 7);
  erase(24);  // 16-23 and 25-31
  EXPECT_EQ(run_of(1), (Blocks{16, 24}));
  assign({16, 32}, 7);
  erase(20);
  EXPECT_EQ(run_of(1), (Blocks{21, 32}));
  erase(26);  // 21-25 and 27-31: both too short
  EXPECT_EQ(run_of(1), kNone);
  assign({16, 32}, 7);
  assign(31, in_slot(1000));
  EXPECT_EQ(run_of(1), (Blocks{16, 31}));
  assign(16, in_slot(2000));
  EXPECT_EQ(run_of(1), (Blocks{17, 31}));
}

TEST_F(RunMapTest, FirstAndLastSlotsOfASpare) {
  // The slots that these runs would need before the first and after the last one do not exist.
  assign({3, 10}, 0);
  EXPECT_EQ(run_of(0), (Blocks{3, 10}));
  assign(2, in_slot(kMaxSlotsPerSpare - 1));
  EXPECT_EQ(run_of(0), (Blocks{3, 10}));
  assign({16, 24}, kMaxSlotsPerSpare - 8);
  EXPECT_EQ(run_of(1), (Blocks{16, 24}));
  assign(24, in_slot(0));
  EXPECT_EQ(run_of(1), (Blocks{16, 24}));
  assign({32, 37}, kMaxSlotsPerSpare - 5);
  assign({37, 42}, 0);
  EXPECT_EQ(run_of(2), kNone);
}

TEST_F(RunMapTest, WithoutMemoryOrRoomThereAreNoRunsAndNothingElse) {
  assign({0, 16}, 0);
  memory.budget = 0;
  for (std::uint64_t window = 1; window < 3; ++window) assign({window * 16, window * 16 + 16}, window * 16);
  EXPECT_EQ(run_of(2), (Blocks{32, 48})) << "there was room";
  memory.budget = std::size_t{1} << 40U;
  may_grow = false;
  for (std::uint64_t window = 3; window < 100; ++window) assign({window * 16, window * 16 + 16}, window * 16);
  EXPECT_EQ(run_of(99), kNone);
  may_grow = true;
  assign(99 * 16, in_slot(99 * 16));
  EXPECT_EQ(run_of(99), (Blocks{99 * 16, 100 * 16}));
  EXPECT_EQ(run_of(98), kNone) << "found again when one of its blocks changes";
}

TEST_F(RunMapTest, RoomThatIsExpectedIsThereAndIsGivenBack) {
  runs.expect(6000);
  may_grow = false;
  const std::uint64_t requests = memory.requests;
  for (std::uint64_t window = 0; window < 1000; ++window) assign({window * 16, window * 16 + 6}, window * 16);
  EXPECT_EQ(run_of(999), (Blocks{999 * 16, 999 * 16 + 6}));
  EXPECT_LT(memory.requests - requests, 20U) << "those of the entries only";
  const std::uint64_t held = runs.memory_bytes();
  runs.expect(60000);
  EXPECT_GT(runs.memory_bytes(), held * 4);
  runs.expect(0);
  EXPECT_LE(runs.memory_bytes(), held);
}

TEST_F(RunMapTest, NeverSaysWhatTheEntriesDoNot) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(::testing::Message() << "REMAPFS_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  constexpr std::uint64_t kWindows = 12;
  constexpr std::uint64_t kBlocks = kWindows * WindowRun::kWindow;
  std::uint64_t blocks_in_runs = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t first = random() % kBlocks;
    const std::uint64_t end = std::min(kBlocks, first + 1 + random() % 24);
    // Few places to be in, so that what is assigned often continues what is there.
    const std::uint64_t slot = random() % 3 == 0 ? random() % 64 : first;
    for (std::uint64_t block = first; block < end; ++block) {
      if (random() % 64 == 0) {
        erase(random() % kBlocks);
      } else {
        assign(block,
               random() % 32 == 0 ? PackedMapping({EntryState::lost, {}, 0}, kFull) : in_slot(slot + block - first));
      }
    }
    for (std::uint64_t window = 0; window < kWindows; ++window) {
      const Blocks run = run_of(window);
      blocks_in_runs += run.end - run.begin;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(blocks_in_runs, 20000U * kBlocks / 4) << "or there was little to see";
}

}  // namespace
}  // namespace remapfs
