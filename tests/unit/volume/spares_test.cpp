// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "support/volume_rig.hpp"

// Spares that join and leave a volume in use (promises I1, I4 and I8).

namespace remapfs::testing {
namespace {

class Spares : public ::testing::Test {
 protected:
  Spares() { rig.primary->poke(ByteOffset(0), pattern(0, 4U << 20U, 0)); }

  static bool never_mind(BlockIndex /*block*/) { return true; }
  void expect_contents() {
    for (std::uint64_t at = 0; at < 4U << 20U; at += 65536)
      EXPECT_EQ(*rig.read(at, 65536), pattern(at, 65536, 0)) << at;
  }
  // Mounts again, with little time for each request, and adds a second spare. Where block 1 is on the first one.
  ByteOffset slot_of_block_1_in_a_hurry() {
    rig.unmount();
    VolumeOptions options;
    options.request_budget = std::chrono::milliseconds(40);
    rig.mount(options);
    EXPECT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
    return ByteOffset(VolumeRig::kFirstSlot + rig.row(1)->where.slot.value() * 4096);
  }
  std::uint64_t on_spare(SpareId id) const {
    std::uint64_t count = 0;
    for (const auto& [block, row] : rig.map.rows) count += row.state == EntryState::remapped && row.where.spare == id;
    return count;
  }

  VolumeRig rig{RigOptions{.slots = 8}};
};

TEST_F(Spares, FullVolumeGoesOnWithOneMore) {
  for (std::uint64_t block = 0; block < 8; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  EXPECT_EQ(rig.volume->add(BlockIndex(8)).error().code, Errc::no_space);
  EXPECT_EQ(rig.volume->status().state, VolumeState::degraded);
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  EXPECT_EQ(rig.volume->status().slots_total, 264U);
  EXPECT_EQ(rig.volume->info().spares.size(), 2U);
  rig.primary->add_bad_sectors(64, 8);
  EXPECT_TRUE(rig.write(8 * 4096, pattern(8 * 4096, 4096, 0)));
  EXPECT_EQ(rig.row(8)->where.spare, 2U);
  expect_contents();
  rig.remount();
  expect_contents();
  EXPECT_EQ(rig.volume->status().slots_total, 264U);
}

// Only with time enough for its tries it is known that it is lost.
TEST_F(Spares, OneWithASectorThatTakesLongToFailCanLeave) {
  for (std::uint64_t block = 0; block < 4; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  const ByteOffset slot = slot_of_block_1_in_a_hurry();
  rig.spare().add_bad_sectors(slot.value() / 512, 2, FaultRule::On::read);
  rig.spare().set_before([&](const FakeOperation& operation) {
    const bool fails = operation.kind == FakeOperation::Kind::read && operation.range.begin <= slot + 512 &&
                       operation.range.end > slot;
    if (fails) std::this_thread::sleep_for(std::chrono::milliseconds(30));
  });
  const auto retired = rig.volume->retire_spare(1, never_mind);
  ASSERT_TRUE(retired) << describe(retired.error());
  EXPECT_EQ(on_spare(2), 4U);
  EXPECT_EQ(rig.volume->status().lost_sectors, 2U);
  EXPECT_EQ(*rig.read(4096 + 1024, 3072), pattern(4096 + 1024, 3072, 0));
}

TEST_F(Spares, UnmountDoesNotWaitUntilEverySlowSectorHadItsTries) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(1)));
  const ByteOffset slot = slot_of_block_1_in_a_hurry();
  rig.spare().add_bad_sectors(slot.value() / 512, 8, FaultRule::On::read);
  rig.spare().set_before([&](const FakeOperation& operation) {
    const bool fails = operation.kind == FakeOperation::Kind::read && operation.range.begin >= slot;
    if (fails) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (fails && operation.range.size().value() == 512) rig.volume->interrupt_waits();
  });
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::interrupted);
  EXPECT_EQ(on_spare(1), 1U);
}

TEST_F(Spares, FlushSyncsTheNewOneToo) {
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  for (std::uint64_t block = 0; block < 9; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(rig.write(8 * 4096, pattern(8 * 4096, 4096, 5)));
  EXPECT_NE(rig.spares[1]->unsynced_sectors(), 0U);
  ASSERT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.spares[1]->unsynced_sectors(), 0U);
  rig.spares[1]->fail_syncs(1);
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
}

TEST_F(Spares, MapThatCannotBeWrittenLeavesItOut) {
  rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_EQ(rig.volume->add_spare(rig.ready_spare(2)).error().code, Errc::store);
  EXPECT_EQ(rig.volume->status().slots_total, 8U);
  EXPECT_EQ(rig.volume->info().spares.size(), 1U);
}

TEST_F(Spares, AnotherOfTheSameNumberLeavesTheFirstOneAlone) {
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  for (std::uint64_t block = 0; block < 9; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(rig.write(8 * 4096, pattern(8 * 4096, 4096, 5)));
  rig.store->failures.push_back({Error{Errc::invalid, 0, "there has been one"}, {}, {}});
  NewSpare second = rig.ready_spare(2);
  rig.spares.back()->fail_syncs(FakeDisk::kAlways);
  EXPECT_EQ(rig.volume->add_spare(std::move(second)).error().code, Errc::invalid);
  EXPECT_EQ(rig.spares.back()->counters().syncs, 0U);
  // What the first one remembers is its own: writes that no sync covered, and vanish with it, are told.
  rig.spares[1]->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(8 * 4096, 4096));
  rig.spares[1]->crash_all_lost();
  rig.spares[1]->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_FALSE(rig.volume->flush());
}

TEST_F(Spares, DeviceWithACoarserGridIsForAnUnmountedVolume) {
  DeviceGeometry coarse;
  coarse.logical_block = 4096;
  EXPECT_EQ(rig.volume->add_spare(rig.ready_spare(2, 256, coarse)).error().code, Errc::unsupported);
  EXPECT_EQ(rig.volume->status().slots_total, 8U);
  NewSpare spare = rig.ready_spare(3, 256, coarse);
  spare.alone = true;
  ASSERT_TRUE(rig.volume->add_spare(std::move(spare)));
  rig.spares.erase(rig.spares.begin() + 1);
  rig.map.joined[0].id = 2;  // the rig counts them
  rig.remount();
  for (std::uint64_t block = 0; block < 9; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(rig.write(8 * 4096 + 512, pattern(8 * 4096 + 512, 512, 0)));
  expect_contents();
}

TEST_F(Spares, RetiredSpareGivesItsBlocksToTheOthers) {
  for (std::uint64_t block = 0; block < 8; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block * 100)));
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  std::vector<BlockIndex> moved;
  ASSERT_TRUE(rig.volume->retire_spare(1, [&](BlockIndex block) {
    moved.push_back(block);
    return true;
  }));
  EXPECT_EQ(moved.size(), 8U);
  EXPECT_EQ(on_spare(1), 0U);
  EXPECT_EQ(on_spare(2), 8U);
  EXPECT_EQ(rig.row(100)->cause, Cause::spare_retired);
  EXPECT_EQ(rig.row(100)->error_count, 0U);
  EXPECT_EQ(rig.volume->status().slots_total, 256U);
  EXPECT_EQ(rig.volume->info().spares.size(), 1U);
  rig.spares[0]->set_outage(Outage::gone);  // pulled out
  expect_contents();
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(*rig.volume->resume(), Outcome::already);
  EXPECT_TRUE(rig.volume->add(BlockIndex(9)));
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::not_found);
}

TEST_F(Spares, LostSectorsStayLostAndNewOnesAreFoundOnTheWay) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(10)));
  ASSERT_TRUE(rig.volume->add(BlockIndex(11)));
  ASSERT_TRUE(rig.volume->add(BlockIndex(12)));
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(10)));
  rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512 + rig.row(11)->where.slot.value() * 8 + 3, 1);
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  ASSERT_TRUE(rig.volume->retire_spare(1, never_mind));
  EXPECT_EQ(on_spare(2), 3U);
  EXPECT_EQ(rig.row(10)->valid_mask, 0U);
  EXPECT_EQ(rig.row(11)->valid_mask, 0xF7U);
  EXPECT_EQ(rig.read(10 * 4096, 512).error().code, Errc::lost);
  EXPECT_EQ(rig.read(11 * 4096 + 3 * 512, 512).error().code, Errc::lost);
  EXPECT_EQ(*rig.read(11 * 4096, 3 * 512), pattern(11 * 4096, 3 * 512, 0));
  EXPECT_EQ(*rig.read(12 * 4096, 4096), pattern(12 * 4096, 4096, 0));
  // What its new slot never held cannot come back from there.
  EXPECT_EQ(*rig.volume->retest(BlockIndex(10)), Outcome::still_bad);
}

TEST_F(Spares, WithoutRoomElsewhereItStays) {
  for (std::uint64_t block = 0; block < 8; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::no_space);
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2, 7)));
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::no_space);
  EXPECT_EQ(on_spare(1), 8U);
  EXPECT_TRUE(rig.volume->add(BlockIndex(20)));
  expect_contents();
}

TEST_F(Spares, OneThatWasInterruptedServesOnAndCanBeRetiredAgain) {
  rig.unmount();
  rig.map.info.spares[0].slots = 200;
  rig.spares[0] =
      std::make_unique<FakeDisk>(ByteCount(VolumeRig::kFirstSlot + 200 * 4096 + 4096), DeviceGeometry{}, "spare");
  rig.mount();
  for (std::uint64_t block = 0; block < 150; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  EXPECT_EQ(rig.volume->retire_spare(1, [](BlockIndex) { return false; }).error().code, Errc::interrupted);
  EXPECT_GT(on_spare(1), 0U);
  EXPECT_GT(on_spare(2), 0U);
  EXPECT_FALSE(rig.volume->status().spares[0].retiring);
  expect_contents();
  ASSERT_TRUE(rig.volume->add(BlockIndex(300)));
  EXPECT_EQ(rig.row(300)->where.spare, 1U) << "in use again";
  ASSERT_TRUE(rig.volume->retire_spare(1, never_mind));
  EXPECT_EQ(on_spare(1), 0U);
  expect_contents();
}

TEST_F(Spares, MapThatCannotBeWrittenKeepsIt) {
  for (std::uint64_t block = 0; block < 8; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::store);
  EXPECT_EQ(on_spare(1), 8U);
  EXPECT_EQ(rig.volume->status().slots_free, 256U);
  expect_contents();
}

TEST_F(Spares, OneThatHasLostWritesTellsThemBeforeItMayLeave) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(0)));
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 5)));
  rig.spare().set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(0, 4096));
  rig.spare().crash_all_lost();
  rig.spare().set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::failed);
  EXPECT_FALSE(rig.volume->flush()) << "the writers learn of it";
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_TRUE(rig.volume->retire_spare(1, never_mind));

  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(3)));
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 6)));
  rig.spares[1]->fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_EQ(rig.volume->retire_spare(2, never_mind).error().code, Errc::failed);
}

TEST_F(Spares, WhatIsNoSpareIsRefused) {
  EXPECT_EQ(rig.volume->retire_spare(0, never_mind).error().code, Errc::not_found);
  EXPECT_EQ(rig.volume->retire_spare(9, never_mind).error().code, Errc::not_found);
  rig.unmount();
  VolumeOptions options;
  options.read_only = true;
  rig.mount(std::move(options));
  EXPECT_EQ(rig.volume->retire_spare(1, never_mind).error().code, Errc::read_only);
  EXPECT_EQ(rig.volume->add_spare(rig.ready_spare(2)).error().code, Errc::read_only);
}

TEST_F(Spares, LowSpaceIsToldOnce) {
  rig.unmount();
  rig.mount();
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2, 92)));
  const auto told = [&] {
    std::uint64_t count = 0;
    for (const Event& event : rig.map.events) count += event.kind == "spare-low";
    return count;
  };
  for (std::uint64_t block = 0; block < 89; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  EXPECT_EQ(told(), 0U);
  EXPECT_TRUE(rig.volume->status().reasons.empty());
  for (std::uint64_t block = 89; block < 95; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  EXPECT_EQ(told(), 1U);
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  ASSERT_EQ(rig.volume->status().reasons.size(), 1U);
  EXPECT_EQ(rig.volume->status().reasons[0], "only 5 of 100 slots are free: add a spare");
}

}  // namespace
}  // namespace remapfs::testing
