// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace remapfs::testing
