// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

std::uint64_t slot_sector(std::uint64_t slot) { return (VolumeRig::kFirstSlot + slot * 4096) / 512; }

TEST(Slots, SlotThatCannotBeWrittenIsRetiredAndAnotherTaken) {
  VolumeRig rig;
  rig.spare().add_bad_sectors(slot_sector(0), 1, FaultRule::On::write);
  rig.spare().add_bad_sectors(slot_sector(1) + 7, 1, FaultRule::On::write);
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  const auto data = pattern(0, 4096, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  EXPECT_EQ(rig.row(10)->where.slot, SlotIndex(2));
  EXPECT_EQ(rig.map.retired.size(), 2U);
  rig.remount();
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
  EXPECT_EQ(rig.volume->status().slots_total, 254U);
  EXPECT_EQ(rig.volume->status().slots_free, 253U);
}

// A zone may be thousands of slots, and each may take seconds to fail.
TEST(Slots, BadZoneIsLeftInGrowingSteps) {
  VolumeRig rig;
  rig.spare().add_bad_sectors(slot_sector(0), 8 * 100, FaultRule::On::write);
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  const auto data = pattern(0, 4096, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
  EXPECT_GE(rig.row(10)->where.slot, SlotIndex(100));
  EXPECT_LE(rig.map.retired.size(), 8U);
}

TEST(Slots, AllOfThemAreTriedForAWrite) {
  VolumeRig rig;
  rig.spare().add_bad_sectors(slot_sector(0), 8 * 77, FaultRule::On::write);
  rig.spare().add_bad_sectors(slot_sector(78), 8 * (256 - 78), FaultRule::On::write);
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  ASSERT_TRUE(rig.write(80 * 512, pattern(0, 4096, 1)));
  EXPECT_EQ(rig.row(10)->where.slot, SlotIndex(77));
}

// Its data can be read where it is.
TEST(Slots, WeakBlockStaysWeakWhenASlotTakesTooLongToFind) {
  VolumeRig rig;
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(800);
  rig.mount(options);
  rig.spare().add_bad_sectors(slot_sector(0), 8 * 256, FaultRule::On::write);
  rig.spare().set_before([](const FakeOperation& operation) {
    const bool slow = operation.kind == FakeOperation::Kind::write &&
                      operation.range.begin >= ByteOffset(VolumeRig::kFirstSlot) &&
                      operation.range.begin < ByteOffset(slot_sector(256) * 512);
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  rig.primary->poke(ByteOffset(80 * 512), pattern(0, 4096, 1));
  rig.primary->add_fault(
      {{ByteOffset(80 * 512), ByteOffset(81 * 512)}, FaultRule::On::read, FaultRule::Lasts::times, 2});
  EXPECT_EQ(*rig.read(80 * 512, 4096), pattern(0, 4096, 1));
  ASSERT_TRUE(rig.row(10));
  EXPECT_EQ(rig.row(10)->state, EntryState::weak);
  EXPECT_LE(rig.map.retired.size(), 4U);
}

TEST(Slots, RewriteOfABlockWhoseSlotDiedMovesItAndKeepsTheRest) {
  VolumeRig rig;
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  auto data = pattern(80 * 512, 4096, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  rig.spare().add_bad_sectors(slot_sector(0) + 3, 1, FaultRule::On::write);
  const auto part = pattern(0, 512, 9);
  ASSERT_TRUE(rig.write(83 * 512, part));
  std::copy(part.begin(), part.end(), data.begin() + 3 * 512);
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
  EXPECT_EQ(rig.row(10)->where.slot, SlotIndex(1));
  EXPECT_EQ(rig.row(10)->cause, Cause::slot_error);
  EXPECT_TRUE(rig.map.retired.contains({1, SlotIndex(0)}));
}

TEST(Slots, UnreadableSlotIsLostAndNeverFallsBackToThePrimary) {
  VolumeRig rig;
  const auto stale = pattern(80 * 512, 4096, 0);
  rig.primary->poke(ByteOffset(80 * 512), stale);
  const FaultId fault = rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  const auto data = pattern(80 * 512, 4096, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  rig.primary->remove_fault(fault);
  rig.primary->poke(ByteOffset(80 * 512), stale);
  const FaultId dead = rig.spare().add_bad_sectors(slot_sector(0) + 2, 1, FaultRule::On::read);
  EXPECT_EQ(rig.read(80 * 512, 4096).error().code, Errc::lost);
  EXPECT_EQ(rig.row(10)->state, EntryState::remapped) << "row and slot stay";
  EXPECT_EQ(rig.row(10)->valid_mask, 0xFBU);
  EXPECT_EQ(*rig.read(80 * 512, 1024), std::vector(data.begin(), data.begin() + 1024));

  rig.spare().remove_fault(dead);
  rig.remount();
  EXPECT_EQ(rig.read(82 * 512, 512).error().code, Errc::lost) << "lost until retested or rewritten";
  EXPECT_EQ(*rig.volume->clear_lost(BlockIndex(10)), Outcome::done);
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
}

TEST(Slots, WeakSlotIsLeftForABetterOne) {
  VolumeRig rig;
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  const auto data = pattern(80 * 512, 4096, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  FaultRule once;
  once.range = {ByteOffset(slot_sector(0) * 512), ByteOffset(slot_sector(0) * 512 + 512)};
  once.on = FaultRule::On::read;
  once.lasts = FaultRule::Lasts::times;
  rig.spare().add_fault(once);
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
  EXPECT_EQ(rig.row(10)->where.slot, SlotIndex(1));
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
}

TEST(Slots, ExhaustionFailsOnlyWhatNeedsASlot) {
  VolumeRig rig({.slots = 2});
  rig.primary->add_bad_sectors(80, 24, FaultRule::On::write);
  EXPECT_TRUE(rig.write(80 * 512, pattern(0, 4096, 1)));
  EXPECT_TRUE(rig.write(88 * 512, pattern(0, 4096, 1)));
  EXPECT_EQ(rig.volume->status().state, VolumeState::degraded);
  EXPECT_EQ(rig.write(96 * 512, pattern(0, 4096, 1)).error().code, Errc::no_space);
  EXPECT_TRUE(rig.write(104 * 512, pattern(0, 4096, 1)));
  EXPECT_TRUE(rig.write(80 * 512, pattern(0, 4096, 2))) << "a block with a slot needs no other";
  rig.primary->clear_faults();
  EXPECT_EQ(*rig.volume->remove(BlockIndex(10)), Outcome::done);
  rig.primary->add_bad_sectors(96, 8, FaultRule::On::write);
  EXPECT_TRUE(rig.write(96 * 512, pattern(0, 4096, 1))) << "the slot that was freed serves";
  EXPECT_EQ(*rig.read(80 * 512, 4096), pattern(0, 4096, 2));
}

TEST(Slots, WeakBlockThatFindsNoSlotIsRecordedAsWeak) {
  VolumeRig rig({.slots = 1});
  EXPECT_EQ(*rig.volume->add(BlockIndex(100)), Outcome::done);
  FaultRule once;
  once.range = {ByteOffset(80 * 512), ByteOffset(81 * 512)};
  once.on = FaultRule::On::read;
  once.lasts = FaultRule::Lasts::times;
  rig.primary->add_fault(once);
  EXPECT_TRUE(rig.read(80 * 512, 512));
  ASSERT_TRUE(rig.row(10));
  EXPECT_EQ(rig.row(10)->state, EntryState::weak);
  EXPECT_EQ(rig.volume->status().weak_blocks, 1U);
  EXPECT_TRUE(rig.read(80 * 512, 4096));
  EXPECT_EQ(*rig.volume->retest(BlockIndex(10)), Outcome::done);
  EXPECT_FALSE(rig.row(10));
}

TEST(Slots, PartlyReadableBlockKeepsItsReadableSectors) {
  VolumeRig rig;
  const auto old = pattern(80 * 512, 4096, 0);
  rig.primary->poke(ByteOffset(80 * 512), old);
  rig.primary->add_bad_sectors(82, 1);
  EXPECT_EQ(rig.read(80 * 512, 4096).error().code, Errc::lost);
  EXPECT_EQ(*rig.read(80 * 512, 1024), std::vector(old.begin(), old.begin() + 1024));
  // Less than the lost sector cannot be written: the rest of it is gone.
  EXPECT_EQ(rig.write(82 * 512 + 10, pattern(0, 100, 1)).error().code, Errc::lost);
  // The whole of it can, and then all of the block is there again.
  const auto sector = pattern(82 * 512, 512, 1);
  EXPECT_TRUE(rig.write(82 * 512, sector));
  auto expected = old;
  std::copy(sector.begin(), sector.end(), expected.begin() + 1024);
  EXPECT_EQ(*rig.read(80 * 512, 4096), expected);
  EXPECT_EQ(rig.row(10)->state, EntryState::remapped);
  EXPECT_EQ(rig.row(10)->cause, Cause::rewritten);
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
}

TEST(Slots, SecondSpareServesWhenTheFirstIsFull) {
  VolumeRig rig({.slots = 1, .spares = 2});
  rig.primary->add_bad_sectors(80, 16, FaultRule::On::write);
  const auto data = pattern(0, 8192, 1);
  ASSERT_TRUE(rig.write(80 * 512, data));
  EXPECT_EQ(rig.row(10)->where.spare, 1);
  EXPECT_EQ(rig.row(11)->where.spare, 2);
  EXPECT_EQ(*rig.read(80 * 512, 8192), data);
}

// One bad block, met by many at once: the first moves it, and nobody blames the slot that it moved to.
TEST(Slots, RequestsThatMeetOneBadBlockAtOnceTakeOneSlot) {
  for (const bool writing : {true, false}) {
    SCOPED_TRACE(writing);
    VolumeRig rig({.block_size = 32768, .slots = 64});
    const auto rule = FaultRule{.range = {ByteOffset(32768), ByteOffset(65536)},
                                .on = writing ? FaultRule::On::write : FaultRule::On::read,
                                .lasts = writing ? FaultRule::Lasts::always : FaultRule::Lasts::times,
                                .times = 8};
    rig.primary->add_fault(rule);
    // All eight are at the device before the first of them fails.
    std::atomic<int> arrived{0};
    rig.primary->set_before([&](const FakeOperation& operation) {
      if (operation.range.begin < ByteOffset(32768) || operation.range.begin >= ByteOffset(65536)) return;
      ++arrived;
      for (int i = 0; i < 1000 && arrived < 8; ++i) ::usleep(1000);
    });
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        const std::uint64_t at = 32768 + i * 4096;
        if (writing) {
          EXPECT_TRUE(rig.write(at, pattern(at, 4096, 1)));
        } else {
          EXPECT_TRUE(rig.read(at, 4096));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(rig.map.retired.empty());
    EXPECT_EQ(rig.volume->status().slots_free, 63U);
    if (writing) {
      EXPECT_EQ(*rig.read(32768, 32768), pattern(32768, 32768, 1));
    }
  }
}

TEST(Slots, PartialLastBlockLivesOnASpareWithLargerSectors) {
  VolumeRig rig({.disk_bytes = (1U << 20U) + 1536, .slots = 8, .spare_logical_block = 4096});
  constexpr std::uint64_t kLast = 1U << 20U;
  ASSERT_TRUE(rig.write(kLast, pattern(kLast, 1536, 1)));
  ASSERT_EQ(*rig.volume->add(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(*rig.read(kLast, 1536), pattern(kLast, 1536, 1));
  ASSERT_TRUE(rig.write(kLast, pattern(kLast, 1536, 2)));
  ASSERT_TRUE(rig.write(kLast + 1000, pattern(kLast + 1000, 536, 3)));
  auto expected = pattern(kLast, 1536, 2);
  const auto tail = pattern(kLast + 1000, 536, 3);
  std::copy(tail.begin(), tail.end(), expected.begin() + 1000);
  EXPECT_EQ(*rig.read(kLast, 1536), expected);
  EXPECT_EQ(*rig.read(kLast - 4096, 4096 + 1536).map([](const auto& bytes) {
    return std::vector<std::byte>(bytes.begin() + 4096, bytes.end());
  }),
            expected);
  rig.remount();
  EXPECT_EQ(*rig.read(kLast, 1536), expected);
  ASSERT_TRUE(rig.volume->zero({ByteOffset(kLast + 512), ByteOffset(kLast + 1024)}));
  std::fill(expected.begin() + 512, expected.begin() + 1024, std::byte{0});
  ASSERT_EQ(*rig.volume->remove(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(*rig.read(kLast, 1536), expected);
}

// Both blocks of a request have to leave their slots (on a disk with large sectors, a part of a lost one cannot be
// rewritten in place), and only one slot is free.
TEST(Slots, SlotVacatedByOneBlockOfARequestServesTheNext) {
  VolumeRig rig({.block_size = 8192, .slots = 3, .logical_block = 4096});
  for (const std::uint64_t block : {5U, 6U}) {
    ASSERT_EQ(*rig.volume->add(BlockIndex(block)), Outcome::done);
    ASSERT_EQ(*rig.volume->mark_lost(BlockIndex(block)), Outcome::done);
  }
  const std::uint64_t at = 6 * 8192 - 512;
  EXPECT_TRUE(rig.write(at, pattern(at, 1024, 1)));
  EXPECT_EQ(*rig.read(at, 1024), pattern(at, 1024, 1));
  EXPECT_EQ(rig.volume->status().slots_free, 1U);
  rig.remount();
  EXPECT_EQ(*rig.read(at, 1024), pattern(at, 1024, 1));
}

// A slot whose tag cannot be written is retired while a block still lives in it.
TEST(Slots, SlotThatWasRetiredInUseIsNotHandedOutWhenItsBlockLeaves) {
  VolumeRig rig({.slots = 4});
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  rig.unmount();
  rig.map.retired.insert(rig.row(5)->where);
  rig.mount();
  EXPECT_EQ(rig.volume->status().slots_total, 3U);
  ASSERT_EQ(*rig.volume->remove(BlockIndex(5)), Outcome::done);
  for (std::uint64_t block = 10; block < 13; ++block) ASSERT_EQ(*rig.volume->add(BlockIndex(block)), Outcome::done);
  EXPECT_EQ(rig.volume->add(BlockIndex(13)).error().code, Errc::no_space);
}

}  // namespace
}  // namespace remapfs::testing
