// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/volume_rig.hpp"

// Durable first, visible second (promise I3), and what happens when the first cannot be had.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBad = 80 * 512;  // block 10

class Commit : public ::testing::Test {
 protected:
  Commit() { rig.primary->add_bad_sectors(80, 1, FaultRule::On::write); }

  VolumeRig rig{RigOptions{}};
  std::vector<std::byte> data = pattern(kBad, 4096, 1);
};

TEST_F(Commit, SlotIsWrittenBeforeTheCommitAndServedAfterIt) {
  bool checked = false;
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    ASSERT_EQ(transaction.changes.size(), 1U);
    const ByteOffset slot = ByteOffset(VolumeRig::kFirstSlot) + transaction.changes[0].row.where.slot.value() * 4096;
    EXPECT_EQ(rig.spare().peek({slot, slot + 4096}), data);
    checked = true;
  };
  ASSERT_TRUE(rig.write(kBad, data));
  EXPECT_TRUE(checked);
  EXPECT_EQ(*rig.read(kBad, 4096), data);
  EXPECT_EQ(rig.volume->status().relocations, 1U);
}

TEST_F(Commit, MapThatCannotBeWrittenFailsTheWriteAndChangesNothing) {
  rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_EQ(rig.write(kBad, data).error().code, Errc::store);
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(rig.volume->status().slots_free, 256U);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 0U);
  EXPECT_TRUE(rig.write(kBad, data)) << "the next one may succeed";
}

TEST_F(Commit, UnknownOutcomeMakesItsBlocksUnreadableUntilRemount) {
  for (const bool happened : {false, true}) {
    VolumeRig own;
    own.primary->add_bad_sectors(80, 1, FaultRule::On::write);
    own.store->failures.push_back({Error{Errc::commit_unknown, EIO, {}}, {}, {}});
    own.store->apply_unknown = happened;
    EXPECT_FALSE(own.write(kBad, data));
    EXPECT_EQ(own.read(kBad, 512).error().code, Errc::failed);
    EXPECT_EQ(own.write(kBad, data).error().code, Errc::failed);
    EXPECT_TRUE(own.read(0, 4096)) << "other blocks are served";
    EXPECT_TRUE(own.write(0, pattern(0, 4096, 2)));
    EXPECT_EQ(own.volume->status().state, VolumeState::failed);
    const auto commits = own.store->commits();
    own.primary->add_bad_sectors(400, 1, FaultRule::On::write);
    EXPECT_FALSE(own.write(400 * 512, data));
    EXPECT_EQ(own.store->commits(), commits) << "the map is written no more";
    EXPECT_TRUE(own.volume->resume());
    EXPECT_EQ(own.volume->status().state, VolumeState::failed) << "resume is not a remount";

    own.remount();
    EXPECT_EQ(own.volume->status().state, VolumeState::healthy);
    if (happened) {
      EXPECT_EQ(*own.read(kBad, 4096), data);
    }
  }
}

TEST_F(Commit, SlotWhoseTagCannotBeWrittenIsReplaced) {
  rig.store->failures.push_back({Error{Errc::media, EIO, {}}, {{1, SlotIndex(0)}}, {}});
  ASSERT_TRUE(rig.write(kBad, data));
  ASSERT_TRUE(rig.row(10));
  EXPECT_EQ(rig.row(10)->where, (SlotAddress{1, SlotIndex(1)}));
  EXPECT_TRUE(rig.map.retired.contains({1, SlotIndex(0)}));
  EXPECT_EQ(*rig.read(kBad, 4096), data);
}

TEST_F(Commit, FailureOfAnotherSlotInTheGroupIsTriedAgain) {
  rig.store->failures.push_back({Error{Errc::media, EIO, {}}, {{1, SlotIndex(200)}}, {}});
  EXPECT_TRUE(rig.write(kBad, data));
  EXPECT_EQ(rig.store->commits(), 2U);
}

TEST_F(Commit, OneRequestOverManyBadBlocksIsOneCommitForEachHold) {
  rig.primary->add_bad_sectors(1024, 32 * 8, FaultRule::On::write);
  const auto before = rig.store->commits();
  ASSERT_TRUE(rig.write(1024 * 512, pattern(1024 * 512, 32 * 4096, 1)));
  EXPECT_EQ(rig.store->commits(), before + 1);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 32U);
}

TEST_F(Commit, LostSectorIsRecordedOnceAndAnsweredWithoutTheDevice) {
  rig.primary->add_bad_sectors(160, 1, FaultRule::On::read);
  EXPECT_EQ(rig.read(160 * 512, 512).error().code, Errc::lost);
  const auto commits = rig.store->commits();
  rig.primary->reset_counters();
  EXPECT_EQ(rig.read(160 * 512, 512).error().code, Errc::lost);
  EXPECT_EQ(rig.read(160 * 512, 1024).error().code, Errc::lost);
  EXPECT_EQ(rig.store->commits(), commits);
  EXPECT_EQ(rig.primary->counters().reads, 0U);
  EXPECT_EQ(rig.volume->status().lost_sectors, 1U);
  EXPECT_EQ(rig.volume->status().state, VolumeState::degraded);
}

TEST_F(Commit, RefusedRowStopsTheMount) {
  rig.unmount();
  rig.map.rows[5] = {BlockIndex(5), EntryState::remapped, {1, SlotIndex(3)}, 0xFF, 0xFF, Sequence(1), {}, 1};
  rig.map.rows[6] = {BlockIndex(6), EntryState::remapped, {1, SlotIndex(3)}, 0xFF, 0xFF, Sequence(1), {}, 1};
  EXPECT_EQ(rig.try_mount({}).error().code, Errc::corrupt);
  rig.map.rows[6].where.slot = SlotIndex(256);
  EXPECT_EQ(rig.try_mount({}).error().code, Errc::corrupt);
  rig.map.rows.erase(6);
  rig.map.rows[1 << 20] = {BlockIndex(1 << 20), EntryState::lost, {}, 0, 0, Sequence(0), {}, 1};
  EXPECT_EQ(rig.try_mount({}).error().code, Errc::corrupt);
}

}  // namespace
}  // namespace remapfs::testing
