// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

class Scrub : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kDisk = (4U << 20U) + 3 * 512;  // 1024 blocks and three sectors
  static constexpr std::uint64_t kBlocks = 1025;

  Scrub() { rig.primary->poke(ByteOffset(0), pattern(0, kDisk, 0)); }

  // Reads succeed again after so many failures.
  FaultId fail_reads(std::uint64_t sector, std::uint64_t times) {
    FaultRule rule;
    rule.range = {ByteOffset(sector * 512), ByteOffset(sector * 512 + 512)};
    rule.on = FaultRule::On::read;
    rule.lasts = FaultRule::Lasts::times;
    rule.times = times;
    return rig.primary->add_fault(rule);
  }
  Result<BlockIndex> scrub(std::uint64_t from = 0, std::uint64_t most = kBlocks) {
    found = {};
    return rig.volume->scrub(BlockIndex(from), most, found);
  }
  void expect_contents() {
    for (std::uint64_t at = 0; at < kDisk; at += 4096) {
      const std::size_t length = std::min<std::uint64_t>(4096, kDisk - at);
      const auto got = rig.read(at, length);
      EXPECT_TRUE(!got || *got == pattern(at, length, 0)) << at;
    }
  }

  VolumeRig rig{RigOptions{.disk_bytes = kDisk}};
  ScrubFindings found;
};

TEST_F(Scrub, OfAGoodDiskReadsAllOfItInLargeAccessesAndChangesNothing) {
  rig.primary->reset_counters();
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, ScrubFindings{});
  EXPECT_EQ(rig.primary->counters().bytes_read, kDisk);
  EXPECT_LE(rig.primary->counters().reads, 6U);
  EXPECT_EQ(rig.primary->counters().writes, 0U);
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(rig.volume->status().reads, 0U) << "nobody's requests";
}

TEST_F(Scrub, GoesNoFartherThanAsked) {
  rig.primary->add_bad_sectors(20 * 8, 1);
  EXPECT_EQ(*scrub(5, 10), BlockIndex(15));
  EXPECT_EQ(found, ScrubFindings{});
  EXPECT_EQ(*scrub(15, 10), BlockIndex(25));
  EXPECT_EQ(found.lost_sectors, 1U);
  EXPECT_EQ(*scrub(1024, 1), BlockIndex(kBlocks)) << "the last, partial block";
}

TEST_F(Scrub, LostSectorsAreRecordedAndTheirNeighboursStayReadable) {
  rig.primary->add_bad_sectors(83, 2);
  rig.primary->add_bad_sectors(kDisk / 512 - 1, 1);
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.lost_sectors = 3}));
  EXPECT_EQ(rig.row(10)->state, EntryState::lost);
  EXPECT_EQ(rig.row(10)->valid_mask, 0xE7U);
  EXPECT_EQ(rig.row(1024)->valid_mask, 0xFBU);
  EXPECT_EQ(*rig.read(82 * 512, 512), pattern(82 * 512, 512, 0));

  const auto reads = rig.primary->counters().reads;
  EXPECT_EQ(*scrub(10, 1), BlockIndex(11));
  EXPECT_EQ(found, ScrubFindings{}) << "known by now";
  EXPECT_LE(rig.primary->counters().reads, reads + 2) << "lost sectors are not tried again";
}

TEST_F(Scrub, BlockThatComesBackAfterRetriesMovesWithItsData) {
  // The long access fails, the block's own, and the first try of its half of it.
  fail_reads(83, 3);
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.moved_blocks = 1}));
  EXPECT_EQ(rig.row(10)->state, EntryState::remapped);
  EXPECT_EQ(rig.row(10)->cause, Cause::weak_read);
  rig.primary->add_bad_sectors(80, 8);
  EXPECT_EQ(*rig.read(10 * 4096, 4096), pattern(10 * 4096, 4096, 0));
  expect_contents();
}

TEST_F(Scrub, WeakBlocksOfTheMapMoveWhileTheirDataIsGood) {
  const ImportRun weak{{BlockIndex(30), BlockIndex(40)}, 0};
  ImportCounts counts;
  ASSERT_TRUE(rig.volume->import_entries({&weak, 1}, counts));
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.moved_blocks = 10}));
  EXPECT_EQ(rig.volume->status().weak_blocks, 0U);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 10U);
  expect_contents();
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, ScrubFindings{});
}

TEST_F(Scrub, WithoutASlotWeakBlocksAreNamed) {
  for (std::uint64_t block = 0; block < 256; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(512 + block)));
  fail_reads(83, 3);
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.weak_blocks = 1}));
  EXPECT_EQ(rig.row(10)->state, EntryState::weak);
}

TEST_F(Scrub, SlotsAreReadToo) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(10)));
  ASSERT_TRUE(rig.volume->add(BlockIndex(11)));
  const auto slot = rig.row(10)->where.slot.value();
  rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512 + slot * 8 + 2, 1);
  rig.primary->add_bad_sectors(11 * 8, 1);  // the old place of a block that has moved
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.lost_sectors = 1}));
  EXPECT_EQ(rig.row(10)->state, EntryState::remapped);
  EXPECT_EQ(rig.row(10)->valid_mask, 0xFBU);
  EXPECT_EQ(rig.row(11)->valid_mask, 0xFFU);
}

TEST_F(Scrub, BrokenDeviceIsNoBadSector) {
  rig.primary->set_outage(Outage::failing);
  EXPECT_EQ(scrub().error().code, Errc::suspended);
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(scrub().error().code, Errc::suspended) << "at once, now that the breaker is open";
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
}

TEST_F(Scrub, MapThatCannotBeWrittenEndsItWithNothingFound) {
  fail_reads(83, 3);
  rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_EQ(scrub().error().code, Errc::store);
  EXPECT_EQ(found, ScrubFindings{});
  EXPECT_FALSE(rig.row(10));
  EXPECT_EQ(rig.volume->status().slots_free, 256U);
  expect_contents();
}

TEST_F(Scrub, ReadOnlyVolumeIsRefused) {
  rig.unmount();
  VolumeOptions options;
  options.read_only = true;
  rig.mount(std::move(options));
  EXPECT_EQ(scrub().error().code, Errc::read_only);
}

// Only with time enough for its tries it is known that it is lost.
TEST_F(Scrub, SectorsThatTakeLongToFailAreRecordedAndAFewAreOneStep) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(50);
  rig.mount(std::move(options));
  rig.primary->add_bad_sectors(80, 1);
  rig.primary->add_bad_sectors(88, 1);
  rig.primary->set_before([](const FakeOperation& operation) {
    const bool fails = operation.kind == FakeOperation::Kind::read && operation.range.begin <= ByteOffset(96 * 512) &&
                       operation.range.end > ByteOffset(80 * 512);
    if (fails) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  rig.primary->add_bad_sectors(96, 1);
  BlockIndex next = *scrub();
  EXPECT_LT(next, BlockIndex(13)) << "others may want to stop it";
  ScrubFindings all = found;
  while (next < BlockIndex(kBlocks)) {
    const BlockIndex before = next;
    next = *scrub(before.value());
    ASSERT_GT(next, before);
    all += found;
  }
  EXPECT_EQ(all, (ScrubFindings{.lost_sectors = 3}));
  EXPECT_EQ(rig.row(10)->valid_mask, 0xFEU);
  EXPECT_EQ(rig.row(11)->valid_mask, 0xFEU);
}

TEST_F(Scrub, WhoWaitsForABlockWithASlowSectorGetsItAfterTheTimeOfARequest) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(50);
  rig.mount(std::move(options));
  FaultRule rule;
  rule.range = {ByteOffset(80 * 512), ByteOffset(88 * 512)};
  rule.on = FaultRule::On::read;
  rule.lasts = FaultRule::Lasts::until_written;
  rig.primary->add_fault(rule);
  std::atomic<unsigned> alone{0};
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::read || operation.range.size().value() != 512) return;
    if (operation.range.begin < ByteOffset(80 * 512) || operation.range.begin >= ByteOffset(88 * 512)) return;
    if (++alone != 1) return;
    while (rig.volume->status().writes == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  std::thread writer([&] {
    while (alone == 0) std::this_thread::yield();
    EXPECT_TRUE(rig.write(80 * 512, pattern(80 * 512, 4096, 7)));
  });
  EXPECT_EQ(*scrub(10, 1), BlockIndex(11));
  writer.join();
  EXPECT_EQ(found, (ScrubFindings{.unread_blocks = 1}));
  EXPECT_LT(alone, 24U) << "three tries each";
  EXPECT_EQ(*rig.read(80 * 512, 4096), pattern(80 * 512, 4096, 7));
}

TEST_F(Scrub, UnmountDoesNotWaitUntilASlowSectorHadItsTries) {
  rig.primary->add_bad_sectors(80, 1);
  unsigned alone = 0;
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::read || operation.range.begin != ByteOffset(80 * 512)) return;
    if (operation.range.size().value() == 512 && ++alone == 1) rig.volume->interrupt_waits();
  });
  EXPECT_EQ(*scrub(10, 1), BlockIndex(10)) << "it is looked at again";
  EXPECT_EQ(alone, 1U);
  EXPECT_EQ(found, ScrubFindings{});
  EXPECT_FALSE(rig.row(10));
}

TEST_F(Scrub, BlockInUseForTooLongIsCountedAndPassedOver) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(50);
  rig.mount(std::move(options));
  AlignedBuffer buffer = *AlignedBuffer::allocate(4096);
  DirectAccess access;
  ASSERT_TRUE(rig.volume->begin(access, {ByteOffset(3 * 4096), ByteOffset(4 * 4096)}, buffer.data(), false));
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, ScrubFindings{}) << "reads go beside other reads";
  rig.primary->add_bad_sectors(25, 1);
  EXPECT_EQ(*scrub(), BlockIndex(kBlocks));
  EXPECT_EQ(found, (ScrubFindings{.unread_blocks = 1}));
  EXPECT_FALSE(rig.row(3));
  VolumeRig::carry_out(access, buffer.data());
  EXPECT_FALSE(rig.volume->end(access));
}

}  // namespace
}  // namespace remapfs::testing
