// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

ByteRange range(std::uint64_t begin, std::uint64_t end) { return {ByteOffset(begin), ByteOffset(end)}; }
bool all_zero(const std::vector<std::byte>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

class Zero : public ::testing::TestWithParam<bool> {
 protected:
  Zero() {
    rig.primary->poke(ByteOffset(0), pattern(0, 4U << 20U, 0));
    // One block in a slot, one lost, one weak neighbour of both.
    EXPECT_TRUE(rig.volume->add(BlockIndex(10)));
    EXPECT_TRUE(rig.volume->mark_lost(BlockIndex(12)));
  }
  Result<void> zero(ByteRange r) { return GetParam() ? rig.volume->punch(r) : rig.volume->zero(r); }
  VolumeRig rig{RigOptions{.punches_cheaply = true}};
};

TEST_P(Zero, ReadsBackAsZerosOnPrimarySlotsAndLostSectors) {
  ASSERT_TRUE(zero(range(8 * 4096 + 100, 14 * 4096 - 7)));
  const auto back = rig.read(8 * 4096, 6 * 4096);
  ASSERT_TRUE(back);
  const auto edge = pattern(8 * 4096, 100, 0);
  EXPECT_TRUE(std::equal(edge.begin(), edge.end(), back->begin()));
  EXPECT_TRUE(all_zero({back->begin() + 100, back->end() - 7}));
  EXPECT_NE(back->back(), std::byte{0});
  ASSERT_TRUE(rig.row(10));
  EXPECT_EQ(rig.row(10)->state, EntryState::remapped) << "entries keep their slots";
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  rig.remount();
  EXPECT_TRUE(all_zero(*rig.read(9 * 4096, 4 * 4096)));
}

TEST_P(Zero, BlocksThatCannotBeZeroedMove) {
  rig.primary->add_bad_sectors(20 * 8 + 3, 1, FaultRule::On::write);
  ASSERT_TRUE(zero(range(0, 3U << 20U)));
  EXPECT_TRUE(all_zero(*rig.read(0, 3U << 20U)));
  ASSERT_TRUE(rig.row(20));
  EXPECT_EQ(rig.row(20)->state, EntryState::remapped);
}

TEST_P(Zero, PastTheEndChangesNothing) {
  EXPECT_EQ(zero(range(4096, (4U << 20U) + 1)).error().code, Errc::past_end);
  EXPECT_EQ(*rig.read(4096, 4096), pattern(4096, 4096, 0));
}

// The device comes back without what it had not synced, and another's flush is told so: then the beginning is not there
// any more, and nobody else would tell.
TEST(ZeroOverAnOutage, IsDoneAgainFromItsBeginning) {
  VolumeRig rig({.disk_bytes = 130U << 20U, .punches_cheaply = true});
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.unmount();
  rig.mount(options);
  const auto before = pattern(0, 4096, 1);
  ASSERT_TRUE(rig.write(0, before));
  ASSERT_TRUE(rig.volume->flush());
  std::atomic<bool> pulled{false};
  rig.primary->set_before([&](const FakeOperation& operation) {
    const bool second = operation.kind == FakeOperation::Kind::write && operation.range.begin.value() >= 64U << 20U;
    if (second && !pulled.exchange(true)) rig.primary->set_outage(Outage::gone);
  });
  std::thread zeroing([&] { EXPECT_TRUE(rig.volume->zero(range(0, 130U << 20U))); });
  while (!rig.volume->status().suspended) std::this_thread::yield();
  rig.primary->crash_all_lost();
  rig.primary->set_outage(Outage::none);
  ASSERT_EQ(rig.primary->peek(range(0, 4096)), before) << "the zeros are lost";
  ASSERT_TRUE(rig.volume->resume());
  std::ignore = rig.volume->flush();
  zeroing.join();
  EXPECT_TRUE(all_zero(*rig.read(0, 4096)));
}

// Where each commit takes its time, as on hard disks: the time of a request is for trying again.
TEST(ZeroOverLostBlocks, EndsHoweverManyThereAre) {
  VolumeRig rig({.slots = 2048});
  for (std::uint64_t block = 0; block < 600; ++block) ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(block)));
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(300);
  rig.mount(options);
  const std::uint64_t before = rig.store->commits();
  rig.spare().set_before([](const FakeOperation& operation) {
    if (operation.kind == FakeOperation::Kind::sync) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  const auto zeroed = rig.volume->zero(range(0, 600 * 4096));
  ASSERT_TRUE(zeroed) << describe(zeroed.error());
  EXPECT_TRUE(all_zero(*rig.read(0, 600 * 4096)));
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  EXPECT_LE(rig.store->commits() - before, 20U) << "one for many blocks";
}

// What asks for no care is zeroed as ever: it may be a hole for which there is no room.
TEST(ZeroOverLostBlocks, WritesNothingBehindThem) {
  VolumeRig rig({.punches_cheaply = true});
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(3)));
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(9)));
  rig.primary->reset_counters();
  ASSERT_TRUE(rig.volume->punch(range(0, 1U << 20U)));
  EXPECT_EQ(rig.primary->counters().writes, 0U);
  EXPECT_TRUE(all_zero(*rig.read(0, 1U << 20U)));
}

// Each access to a bad zone may take seconds to fail.
TEST(ZeroOverBadSectors, TriesNoMoreAtOnceThanItThenWrites) {
  VolumeRig rig({.disk_bytes = 64U << 20U});
  for (std::uint64_t mib = 10; mib < 14; ++mib) rig.primary->add_bad_sectors(mib << 11U, 1, FaultRule::On::write);
  std::uint64_t tried = 0;
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind == FakeOperation::Kind::write) tried += operation.range.size().value();
  });
  ASSERT_TRUE(rig.volume->zero(range(0, 64U << 20U)));
  EXPECT_LE(tried, 3 * (64U << 20U)) << "bytes in all";
  EXPECT_EQ(rig.volume->status().remapped_blocks, 4U);
}

TEST(ZeroOverBadSectors, EndsWhereEachBlockTakesLongerToFailThanARequestMayTake) {
  VolumeRig rig({.disk_bytes = 64U << 20U, .slots = 1024});
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(20);
  rig.mount(options);
  rig.primary->add_bad_sectors(0, 8 * 512, FaultRule::On::write);  // two requests full
  unsigned failed = 0;
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::write || operation.range.begin >= ByteOffset(512 * 4096)) return;
    ++failed;
    std::this_thread::sleep_for(std::chrono::milliseconds(220));
  });
  const auto zeroed = rig.volume->zero(range(0, 600 * 4096));
  ASSERT_TRUE(zeroed) << describe(zeroed.error());
  EXPECT_LE(failed, 6U);
  EXPECT_TRUE(all_zero(*rig.read(0, 600 * 4096)));
  EXPECT_EQ(rig.volume->status().remapped_blocks, 512U);
}

INSTANTIATE_TEST_SUITE_P(ZeroAndPunch, Zero, ::testing::Bool());

TEST(Punch, IsRefusedBeforeAnyChangeWhereThePrimaryCannot) {
  VolumeRig rig;
  rig.primary->poke(ByteOffset(0), pattern(0, 65536, 0));
  EXPECT_EQ(rig.volume->punch(range(0, 65536)).error().code, Errc::unsupported);
  EXPECT_EQ(*rig.read(0, 65536), pattern(0, 65536, 0));
}

TEST(Seek, EntriesAreData) {
  VolumeRig rig({.disk_bytes = 64U << 20U, .punches_cheaply = true});
  const std::uint64_t size = 64U << 20U;
  // Nothing was ever written: one hole.
  EXPECT_EQ(rig.volume->seek_data(ByteOffset(0)).error().code, Errc::not_found);
  EXPECT_EQ(*rig.volume->seek_hole(ByteOffset(0)), ByteOffset(0));
  ASSERT_TRUE(rig.volume->add(BlockIndex(5000)));
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(5001)));
  EXPECT_EQ(*rig.volume->seek_data(ByteOffset(0)), ByteOffset(5000 * 4096));
  EXPECT_EQ(*rig.volume->seek_data(ByteOffset(5000 * 4096 + 7)), ByteOffset(5000 * 4096 + 7));
  EXPECT_EQ(*rig.volume->seek_hole(ByteOffset(5000 * 4096)), ByteOffset(5002 * 4096));
  EXPECT_EQ(rig.volume->seek_data(ByteOffset(5002 * 4096)).error().code, Errc::not_found);
  EXPECT_EQ(rig.volume->seek_data(ByteOffset(size)).error().code, Errc::past_end);
  EXPECT_EQ(rig.volume->seek_hole(ByteOffset(size)).error().code, Errc::past_end);
}

// The block comes home between the two questions that are asked: of the device, and of the table.
TEST(Seek, BlockThatComesHomeMeanwhileIsNoHole) {
  VolumeRig rig({.disk_bytes = 64U << 20U, .punches_cheaply = true});
  const auto move_away_and_come_home_at_the_next_seek = [&] {
    rig.primary->set_after({});
    ASSERT_TRUE(rig.volume->add(BlockIndex(5000)));
    ASSERT_TRUE(rig.write(5000 * 4096, pattern(5000 * 4096, 4096, 1)));
    rig.primary->set_after([&, once = std::make_shared<bool>(false)](const FakeOperation& operation) {
      if (operation.kind != FakeOperation::Kind::seek || std::exchange(*once, true)) return;
      EXPECT_TRUE(rig.volume->remove(BlockIndex(5000)));
    });
  };
  move_away_and_come_home_at_the_next_seek();
  const auto data = rig.volume->seek_data(ByteOffset(0));
  ASSERT_TRUE(data);
  EXPECT_LE(*data, ByteOffset(5000 * 4096));
  ASSERT_TRUE(rig.volume->punch(range(0, 64U << 20U)));
  move_away_and_come_home_at_the_next_seek();
  EXPECT_GT(*rig.volume->seek_hole(ByteOffset(5000 * 4096)), ByteOffset(5000 * 4096));
}

TEST(Seek, EndOfTheDiskIsAHole) {
  VolumeRig rig;
  EXPECT_EQ(*rig.volume->seek_hole(ByteOffset(5)), ByteOffset(4U << 20U));
}

}  // namespace
}  // namespace remapfs::testing
