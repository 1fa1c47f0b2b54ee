// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/volume_rig.hpp"

// Requests whose device accesses somebody else carries out.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t kBlock = 4096;

class DirectAccesses : public ::testing::Test {
 protected:
  DirectAccesses() {
    rig.primary->poke(ByteOffset(0), pattern(0, 4U << 20U, 0));
    rig.remount();
  }
  bool begin(std::uint64_t offset, std::uint64_t length, bool write) {
    return rig.volume->begin(access, {ByteOffset(offset), ByteOffset(offset + length)}, memory.data(), write);
  }
  // Fills the memory for a write.
  std::vector<std::byte> new_bytes(std::uint64_t offset, std::uint64_t length) {
    auto bytes = pattern(offset, length, 7);
    std::copy(bytes.begin(), bytes.end(), memory.data());
    return bytes;
  }

  VolumeRig rig{RigOptions{}};
  DirectAccess access;
  AlignedBuffer memory = *AlignedBuffer::allocate(1U << 20U);
};

TEST_F(DirectAccesses, UntouchedRequestIsOnePartOfThePrimary) {
  ASSERT_TRUE(begin(10 * kBlock, 1U << 20U, false));
  ASSERT_EQ(access.count, 1U);
  EXPECT_EQ(access.parts[0].member, 0);
  EXPECT_EQ(access.parts[0].at, ByteOffset(10 * kBlock));
  EXPECT_EQ(access.parts[0].range, access.range);
  VolumeRig::carry_out(access, memory.data());
  EXPECT_TRUE(rig.volume->end(access));
  const auto right = pattern(10 * kBlock, 1U << 20U, 0);
  EXPECT_TRUE(std::equal(right.begin(), right.end(), memory.data()));
  EXPECT_EQ(rig.volume->status().reads, 1U);
  EXPECT_EQ(rig.volume->status().read_errors, 0U);
}

TEST_F(DirectAccesses, RemappedBlocksArePartsOfTheSpare) {
  ASSERT_EQ(rig.volume->add(BlockIndex(11)), Outcome::done);
  ASSERT_TRUE(begin(10 * kBlock + 512, 3 * kBlock, true));
  ASSERT_EQ(access.count, 3U);
  EXPECT_EQ(access.parts[1].member, 1);
  EXPECT_EQ(access.parts[1].at, ByteOffset(VolumeRig::kFirstSlot));
  EXPECT_EQ(access.parts[2].at, ByteOffset(12 * kBlock));
  const auto bytes = new_bytes(10 * kBlock + 512, 3 * kBlock);
  VolumeRig::carry_out(access, memory.data());
  EXPECT_TRUE(rig.volume->end(access));
  EXPECT_EQ(*rig.read(10 * kBlock + 512, 3 * kBlock), bytes);
}

TEST_F(DirectAccesses, RequestsThatAskForCareAreLeftAlone) {
  EXPECT_FALSE(begin(0, 0, false));
  EXPECT_FALSE(begin(100, 512, false)) << "off the grid";
  EXPECT_FALSE(begin(512, 100, true)) << "off the grid";
  EXPECT_FALSE(begin((4U << 20U) - 512, 1024, false)) << "past the end";
  EXPECT_FALSE(rig.volume->begin(access, {ByteOffset(0), ByteOffset(512)}, memory.data() + 1, false)) << "memory";
  ASSERT_EQ(rig.volume->mark_lost(BlockIndex(3)), Outcome::done);
  EXPECT_FALSE(begin(3 * kBlock, 512, false)) << "lost";
  EXPECT_FALSE(begin(2 * kBlock, 2 * kBlock, true)) << "lost";
  for (std::uint64_t block = 100; block < 110; block += 2) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  EXPECT_TRUE(begin(100 * kBlock, 8 * kBlock, false));
  rig.volume->end(access);
  EXPECT_FALSE(begin(100 * kBlock, 9 * kBlock, false)) << "too many parts";
  EXPECT_EQ(rig.volume->status().reads, 1U) << "what is left alone is not counted here";
  // None of them is still inside.
  EXPECT_EQ(rig.volume->add(BlockIndex(2)), Outcome::done);
  EXPECT_EQ(rig.volume->add(BlockIndex(0)), Outcome::done);
}

TEST_F(DirectAccesses, ReadOnlyVolumeIsNotWrittenTo) {
  rig.unmount();
  VolumeOptions options;
  options.read_only = true;
  rig.mount(options);
  EXPECT_FALSE(begin(0, 512, true));
  EXPECT_TRUE(begin(0, 512, false));
  rig.volume->end(access);
}

TEST_F(DirectAccesses, BrokenDeviceIsLeftAlone) {
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(0, 512));
  EXPECT_FALSE(begin(0, 512, false));
}

TEST_F(DirectAccesses, BlockThatIsHeldIsNotWaitedFor) {
  bool checked = false;
  rig.store->before_commit = [&](const MapTransaction&) {
    EXPECT_FALSE(begin(11 * kBlock, 512, false));
    EXPECT_TRUE(begin(600 * kBlock, 512, false));
    rig.volume->end(access);
    checked = true;
  };
  ASSERT_EQ(rig.volume->add(BlockIndex(11)), Outcome::done);
  EXPECT_TRUE(checked);
}

TEST_F(DirectAccesses, MoveOfABlockWaitsForTheEnd) {
  const auto bytes = new_bytes(11 * kBlock, kBlock);
  ASSERT_TRUE(begin(11 * kBlock, kBlock, true));
  std::atomic<bool> moved = false;
  std::thread mover([&] {
    EXPECT_EQ(rig.volume->add(BlockIndex(11)), Outcome::done);
    moved = true;
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(moved);
  VolumeRig::carry_out(access, memory.data());
  EXPECT_TRUE(rig.volume->end(access));
  mover.join();
  EXPECT_EQ(*rig.read(11 * kBlock, kBlock), bytes);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
}

TEST_F(DirectAccesses, FailedWriteGoesToASlot) {
  rig.primary->add_bad_sectors(88, 1, FaultRule::On::write);
  const auto bytes = new_bytes(10 * kBlock, 3 * kBlock);
  ASSERT_TRUE(begin(10 * kBlock, 3 * kBlock, true));
  VolumeRig::carry_out(access, memory.data());
  ASSERT_FALSE(rig.volume->end(access));
  ASSERT_TRUE(rig.volume->recover(access, memory.data()));
  EXPECT_EQ(*rig.read(10 * kBlock, 3 * kBlock), bytes);
  ASSERT_TRUE(rig.row(11));
  EXPECT_EQ(rig.row(11)->cause, Cause::write_error);
  EXPECT_FALSE(rig.row(10));
  EXPECT_EQ(rig.volume->status().write_errors, 0U);
}

TEST_F(DirectAccesses, FailedReadRecordsWhatIsLost) {
  rig.primary->add_bad_sectors(88, 1, FaultRule::On::read);
  ASSERT_TRUE(begin(10 * kBlock, 3 * kBlock, false));
  VolumeRig::carry_out(access, memory.data());
  ASSERT_FALSE(rig.volume->end(access));
  EXPECT_EQ(rig.volume->recover(access, memory.data()).error().code, Errc::lost);
  ASSERT_TRUE(rig.row(11));
  EXPECT_EQ(rig.row(11)->valid_mask, 0xFEU);
  EXPECT_EQ(rig.volume->status().read_errors, 1U);
}

TEST_F(DirectAccesses, ReadThatFailedOnceMakesItsBlockWeak) {
  FaultRule rule;
  rule.range = {ByteOffset(88 * 512), ByteOffset(89 * 512)};
  rule.lasts = FaultRule::Lasts::times;
  rig.primary->add_fault(rule);
  ASSERT_TRUE(begin(11 * kBlock, kBlock, false));
  VolumeRig::carry_out(access, memory.data());
  ASSERT_FALSE(rig.volume->end(access));
  ASSERT_TRUE(rig.volume->recover(access, memory.data()));
  const auto right = pattern(11 * kBlock, kBlock, 0);
  EXPECT_TRUE(std::equal(right.begin(), right.end(), memory.data()));
  ASSERT_TRUE(rig.row(11));
  EXPECT_EQ(rig.row(11)->cause, Cause::weak_read);
}

TEST_F(DirectAccesses, ShortOrUntriedPartsAreDoneAgain) {
  ASSERT_EQ(rig.volume->add(BlockIndex(11)), Outcome::done);
  const auto bytes = new_bytes(10 * kBlock, 3 * kBlock);
  ASSERT_TRUE(begin(10 * kBlock, 3 * kBlock, true));
  access.parts[1].device->write_all(access.parts[1].at, {memory.data() + kBlock, 512});  // short
  ASSERT_FALSE(rig.volume->end(access));
  ASSERT_TRUE(rig.volume->recover(access, memory.data()));
  EXPECT_EQ(*rig.read(10 * kBlock, 3 * kBlock), bytes);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
}

TEST_F(DirectAccesses, DeviceThatVanishedOpensTheBreaker) {
  ASSERT_TRUE(begin(10 * kBlock, kBlock, true));
  rig.primary->set_outage(Outage::gone);
  VolumeRig::carry_out(access, memory.data());
  ASSERT_FALSE(rig.volume->end(access));
  EXPECT_EQ(rig.volume->recover(access, memory.data()).error().code, Errc::suspended);
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
}

// The device lost what it had acknowledged, and the flush that is told of it is somebody else's.
TEST_F(DirectAccesses, PartsOfAWriteThatVanishedWithTheDeviceAreWrittenAgain) {
  ASSERT_EQ(rig.volume->add(BlockIndex(11)), Outcome::done);
  for (const bool all_done : {false, true}) {
    ASSERT_TRUE(rig.volume->flush());
    const auto bytes = new_bytes(10 * kBlock, 3 * kBlock);
    ASSERT_TRUE(begin(10 * kBlock, 3 * kBlock, true));
    VolumeRig::carry_out(access, memory.data());
    access.parts[2].done = all_done;
    EXPECT_EQ(rig.volume->end(access), all_done);
    rig.primary->set_outage(Outage::gone);
    EXPECT_FALSE(rig.read(0, 512));
    rig.primary->set_outage(Outage::none);
    rig.primary->poke(ByteOffset(10 * kBlock), pattern(10 * kBlock, 3 * kBlock, 0));
    ASSERT_TRUE(rig.volume->resume());
    EXPECT_FALSE(rig.volume->flush()) << "somebody is told";
    ASSERT_TRUE(rig.volume->recover(access, memory.data()));
    ASSERT_TRUE(rig.volume->flush());
    EXPECT_EQ(*rig.read(10 * kBlock, 3 * kBlock), bytes);
  }
}

TEST_F(DirectAccesses, MoreOfThemThanTheGateTakesAreLeftToOthers) {
  std::vector<DirectAccess> open;
  for (std::uint64_t i = 0; i < 600; ++i) {
    open.emplace_back();
    const ByteRange range{ByteOffset(i * 512), ByteOffset((i + 1) * 512)};
    if (!rig.volume->begin(open.back(), range, memory.data(), false)) {
      open.pop_back();
      break;
    }
  }
  EXPECT_GE(open.size(), 256U);
  EXPECT_LT(open.size(), 600U);
  for (DirectAccess& one : open) rig.volume->end(one);
  EXPECT_EQ(rig.volume->add(BlockIndex(0)), Outcome::done);
}

}  // namespace
}  // namespace remapfs::testing
