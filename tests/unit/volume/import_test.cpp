// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

ImportRun run(std::uint64_t begin, std::uint64_t end, SectorMask lost) {
  return {{BlockIndex(begin), BlockIndex(end)}, lost};
}

class Imports : public ::testing::Test {
 protected:
  Imports() { rig.primary->poke(ByteOffset(0), pattern(0, kDisk, 0)); }
  Result<void> import(const std::vector<ImportRun>& runs) { return rig.volume->import_entries(runs, counts); }
  bool reads(std::uint64_t sector) { return rig.read(sector * 512, 512) == pattern(sector * 512, 512, 0); }
  bool is_lost(std::uint64_t sector) {
    const auto got = rig.read(sector * 512, 512);
    return !got && got.error().code == Errc::lost;
  }

  static constexpr std::uint64_t kDisk = (4U << 20U) + 3 * 512;  // 1024 blocks and three sectors
  VolumeRig rig{RigOptions{.disk_bytes = kDisk}};
  ImportCounts counts;
};

TEST_F(Imports, ExactlyTheListedSectorsAreLost) {
  ASSERT_TRUE(import({run(3, 5, 0x81), run(7, 8, 0xFF)}));
  EXPECT_EQ(counts, (ImportCounts{3, 12, 0, 0}));
  for (const bool remounted : {false, true}) {
    if (remounted) rig.remount();
    for (std::uint64_t sector = 20; sector < 70; ++sector) {
      const bool listed = sector == 24 || sector == 31 || sector == 32 || sector == 39 || (56 <= sector && sector < 64);
      EXPECT_EQ(is_lost(sector), listed) << sector;
      EXPECT_EQ(reads(sector), !listed) << sector;
    }
    EXPECT_EQ(rig.volume->status().lost_sectors, 12U);
  }
  EXPECT_EQ(rig.row(3)->cause, Cause::imported);
  EXPECT_EQ(rig.row(3)->valid_mask, 0x7EU);
  EXPECT_EQ(rig.primary->counters().writes, 0U);
}

TEST_F(Imports, PartialLastBlockLosesSectorsOfTheDiskOnly) {
  ASSERT_TRUE(import({run(1023, 1025, 0xFF)}));
  EXPECT_EQ(counts, (ImportCounts{2, 11, 0, 0}));
  EXPECT_EQ(rig.row(1024)->valid_mask, 0xF8U) << "bits past the end stay set";
  EXPECT_EQ(rig.volume->status().lost_sectors, 11U);
  EXPECT_EQ(import({run(1024, 1025, 0xF8)}).error().code, Errc::invalid);
}

TEST_F(Imports, WeakBlocksStayReadable) {
  ASSERT_TRUE(import({run(3, 5, 0)}));
  EXPECT_EQ(counts, (ImportCounts{0, 0, 2, 0}));
  EXPECT_EQ(rig.row(4)->state, EntryState::weak);
  EXPECT_EQ(rig.volume->status().weak_blocks, 2U);
  EXPECT_TRUE(reads(24));
}

TEST_F(Imports, BlocksWithAnEntryAreLeftAsTheyAre) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(10)));
  ASSERT_TRUE(import({run(11, 12, 0x01), run(12, 13, 0)}));
  const auto before = std::vector{*rig.row(10), *rig.row(11), *rig.row(12)};
  counts = {};
  ASSERT_TRUE(import({run(9, 14, 0xFF)}));
  EXPECT_EQ(counts, (ImportCounts{2, 16, 0, 3}));
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rig.row(10 + i)->mapping(), before[i].mapping());
    EXPECT_EQ(rig.row(10 + i)->cause, before[i].cause);
  }
  EXPECT_TRUE(reads(80)) << "still served from its slot";
  EXPECT_TRUE(is_lost(88));
  EXPECT_TRUE(reads(89));
}

TEST_F(Imports, ALostSectorIsRewrittenIntoASlotAndOneThatCanBeReadComesBack) {
  ASSERT_TRUE(import({run(3, 4, 0x03), run(5, 6, 0xFF)}));
  ASSERT_TRUE(rig.write(3 * 4096, pattern(0, 512, 9)));
  EXPECT_EQ(*rig.read(3 * 4096, 512), pattern(0, 512, 9));
  EXPECT_TRUE(is_lost(25));
  EXPECT_TRUE(reads(26));
  EXPECT_EQ(*rig.volume->retest(BlockIndex(5)), Outcome::done);
  EXPECT_TRUE(reads(40));
  EXPECT_FALSE(rig.row(5));
}

TEST_F(Imports, ManyBlocksAreFewCommits) {
  std::vector<ImportRun> runs;
  for (std::uint64_t block = 0; block < 1000; block += 2) runs.push_back(run(block, block + 1, 0xFF));
  const std::uint64_t before = rig.store->commits();
  ASSERT_TRUE(import(runs));
  EXPECT_EQ(counts.lost_blocks, 500U);
  EXPECT_EQ(rig.store->commits() - before, 2U) << "the rows, and the line of history";
  ASSERT_FALSE(rig.map.events.empty());
  EXPECT_EQ(rig.map.events.back().kind, "imported");
}

TEST_F(Imports, NothingIsVisibleBeforeItIsDurable) {
  bool lost_early = false;
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (!transaction.changes.empty()) lost_early = lost_early || rig.volume->status().lost_sectors != 0;
  };
  ASSERT_TRUE(import({run(3, 5, 0xFF)}));
  EXPECT_FALSE(lost_early);
  EXPECT_EQ(rig.volume->status().lost_sectors, 16U);
}

TEST_F(Imports, ABatchThatCannotBeCommittedLeavesNothing) {
  rig.store->failures.push_back({Error{Errc::store, 28, {}}, {}, {}});
  EXPECT_EQ(import({run(3, 5, 0xFF)}).error().code, Errc::store);
  EXPECT_EQ(counts, ImportCounts{});
  EXPECT_FALSE(rig.row(3));
  EXPECT_TRUE(reads(24));
  ASSERT_TRUE(import({run(3, 5, 0xFF)})) << "may be repeated";
  rig.store->failures.push_back({Error{Errc::commit_unknown, 5, {}}, {}, {}});
  EXPECT_FALSE(import({run(8, 9, 0xFF)}));
  EXPECT_EQ(import({run(8, 9, 0xFF)}).error().code, Errc::failed) << "an entry of unknown fate is none";
}

TEST_F(Imports, WhatIsOutOfOrderOrOutsideIsRefusedBeforeAnyChange) {
  const std::vector<std::vector<ImportRun>> wrong{{run(5, 6, 0xFF), run(5, 6, 0xFF)},
                                                  {run(5, 6, 0xFF), run(3, 4, 0xFF)},
                                                  {run(5, 5, 0xFF)},
                                                  {run(0, 1, 0xFF), run(1024, 1026, 0xFF)},
                                                  {run(0, 1, 0xFF), run(~std::uint64_t{0} - 1, ~std::uint64_t{0}, 1)},
                                                  {run(0, 1, 0xFF), run(2, 3, 0x100)}};
  for (const auto& runs : wrong) {
    EXPECT_EQ(import(runs).error().code, Errc::invalid);
    EXPECT_TRUE(rig.map.rows.empty());
  }
  rig.unmount();
  VolumeOptions read_only;
  read_only.read_only = true;
  rig.mount(std::move(read_only));
  EXPECT_EQ(import({run(0, 1, 0xFF)}).error().code, Errc::read_only);
}

// Writes of some blocks stop inside the device until they are let go.
class ImportsDuringAWrite : public Imports {
 protected:
  ImportsDuringAWrite() {
    rig.primary->set_before([this](const FakeOperation& operation) {
      if (operation.kind != FakeOperation::Kind::write || operation.range.begin.value() / 4096 != kBusy) return;
      inside = true;
      while (!let_go) std::this_thread::yield();
    });
    writer = std::thread([this] { EXPECT_TRUE(rig.write(kBusy * 4096, pattern(0, 4096, 5))); });
    while (!inside) std::this_thread::yield();
  }
  void start(std::vector<ImportRun> runs) {
    importer = std::thread([this, asked = std::move(runs)] {
      EXPECT_TRUE(import(asked));
      imported = true;
    });
  }
  ~ImportsDuringAWrite() override { finish(); }
  void finish() {
    let_go = true;
    if (writer.joinable()) writer.join();
    if (importer.joinable()) importer.join();
  }

  static constexpr std::uint64_t kBusy = 900;
  std::atomic<bool> inside{false};
  std::atomic<bool> let_go{false};
  std::atomic<bool> imported{false};
  std::thread writer;
  std::thread importer;
};

TEST_F(ImportsDuringAWrite, ABlockIsEnteredWhenItsWriteIsOver) {
  start({run(kBusy, kBusy + 1, 0xFF)});
  // Once the block is held, nobody gets in any more.
  DirectAccess access;
  AlignedBuffer memory = *AlignedBuffer::allocate(4096);
  const ByteRange range{ByteOffset(kBusy * 4096), ByteOffset(kBusy * 4096 + 4096)};
  while (!imported && rig.volume->begin(access, range, memory.data(), false)) {
    VolumeRig::carry_out(access, memory.data());
    ASSERT_TRUE(rig.volume->end(access));
  }
  EXPECT_FALSE(imported) << "the write was still under way";
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  finish();
  EXPECT_TRUE(is_lost(kBusy * 8));
  // What the write stored is where it was acknowledged.
  EXPECT_EQ(*rig.volume->retest(BlockIndex(kBusy)), Outcome::done);
  EXPECT_EQ(*rig.read(kBusy * 4096, 4096), pattern(0, 4096, 5));
}

TEST_F(ImportsDuringAWrite, OtherBlocksDoNotWaitForABusyOne) {
  start({run(1, 2, 0xFF), run(kBusy, kBusy + 1, 0xFF)});
  while (rig.volume->status().lost_sectors != 8 && !imported) std::this_thread::yield();
  EXPECT_FALSE(imported);
  EXPECT_TRUE(rig.write(4096, pattern(0, 4096, 6))) << "no hold is kept while one is waited for";
  EXPECT_EQ(*rig.read(4096, 4096), pattern(0, 4096, 6));
  finish();
  EXPECT_EQ(counts.lost_blocks, 2U);
  EXPECT_TRUE(is_lost(kBusy * 8));
}

// A write that moves its block has it when the import comes by, and leaves an entry.
TEST_F(Imports, AnEntryThatIsMadeMeanwhileIsKept) {
  constexpr std::uint64_t kMoving = 900;
  std::atomic<bool> inside{false};
  std::atomic<bool> let_go{false};
  rig.primary->add_bad_sectors(kMoving * 8, 1, FaultRule::On::write);
  rig.spare().set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::write) return;
    inside = true;
    while (!let_go) std::this_thread::yield();
  });
  std::thread writer([&] { EXPECT_TRUE(rig.write(kMoving * 4096, pattern(0, 4096, 5))); });
  while (!inside) std::this_thread::yield();
  std::thread importer([&] { EXPECT_TRUE(import({run(1, 2, 0xFF), run(kMoving, kMoving + 1, 0xFF)})); });
  // The first block is in: the other one has been looked at, when it had no entry yet.
  while (rig.volume->status().lost_sectors != 8) std::this_thread::yield();
  let_go = true;
  writer.join();
  importer.join();
  EXPECT_EQ(counts, (ImportCounts{1, 8, 0, 1}));
  EXPECT_EQ(rig.row(kMoving)->state, EntryState::remapped);
  EXPECT_EQ(*rig.read(kMoving * 4096, 4096), pattern(0, 4096, 5));
}

}  // namespace
}  // namespace remapfs::testing
