// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBlock = 10;
constexpr std::uint64_t kAt = kBlock * 4096;

class Verbs : public ::testing::Test {
 protected:
  Verbs() {
    data = pattern(kAt, 4096, 0);
    rig.primary->poke(ByteOffset(kAt), data);
  }
  BlockIndex block{kBlock};
  VolumeRig rig{RigOptions{}};
  std::vector<std::byte> data;
};

TEST_F(Verbs, AddMovesTheBlockAndKeepsItsData) {
  EXPECT_EQ(*rig.volume->add(block), Outcome::done);
  EXPECT_EQ(*rig.volume->add(block), Outcome::already);
  rig.primary->poke(ByteOffset(kAt), pattern(0, 4096, 77));
  EXPECT_EQ(*rig.read(kAt, 4096), data) << "served from the slot";
  rig.remount();
  EXPECT_EQ(*rig.read(kAt, 4096), data);
  EXPECT_EQ(rig.row(kBlock)->cause, Cause::operator_add);
}

TEST_F(Verbs, AddRefusesALostBlockAndRecordsOneThatCannotBeRead) {
  EXPECT_EQ(*rig.volume->mark_lost(block), Outcome::done);
  EXPECT_EQ(rig.volume->add(block).error().code, Errc::lost);
  rig.primary->add_bad_sectors(160, 1);
  EXPECT_EQ(rig.volume->add(BlockIndex(20)).error().code, Errc::lost);
  EXPECT_EQ(rig.row(20)->state, EntryState::lost);
}

TEST_F(Verbs, RemoveCopiesBackVerifiesAndFreesTheSlot) {
  ASSERT_TRUE(rig.volume->add(block));
  const auto newer = pattern(kAt, 4096, 5);
  ASSERT_TRUE(rig.write(kAt, newer));
  EXPECT_EQ(*rig.volume->remove(block), Outcome::done);
  EXPECT_FALSE(rig.row(kBlock));
  EXPECT_EQ(rig.volume->status().slots_free, 256U);
  EXPECT_EQ(rig.primary->peek_durable({ByteOffset(kAt), ByteOffset(kAt + 4096)}), newer) << "synced before the commit";
  EXPECT_EQ(*rig.read(kAt, 4096), newer);
  EXPECT_EQ(*rig.volume->remove(block), Outcome::already);
}

TEST_F(Verbs, RemoveKeepsTheEntryWhileThePrimaryFails) {
  ASSERT_TRUE(rig.volume->add(block));
  for (const auto on : {FaultRule::On::write, FaultRule::On::read}) {
    const FaultId fault = rig.primary->add_bad_sectors(kAt / 512 + 1, 1, on);
    EXPECT_EQ(rig.volume->remove(block).error().code, Errc::media);
    EXPECT_TRUE(rig.row(kBlock));
    EXPECT_EQ(*rig.read(kAt, 4096), data);
    rig.primary->remove_fault(fault);
  }
  rig.primary->fail_syncs(1);
  EXPECT_FALSE(rig.volume->remove(block));
  EXPECT_TRUE(rig.row(kBlock));
}

TEST_F(Verbs, RemoveKeepsTheEntryWhenThePrimaryReturnsOtherBytesThanWritten) {
  ASSERT_TRUE(rig.volume->add(block));
  rig.primary->set_after([&](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::write) rig.primary->poke(ByteOffset(kAt + 77), pattern(0, 1, 9));
  });
  EXPECT_EQ(rig.volume->remove(block).error().code, Errc::media);
  rig.primary->set_after({});
  ASSERT_TRUE(rig.row(kBlock));
  EXPECT_EQ(*rig.read(kAt, 4096), data);
}

TEST_F(Verbs, RemoveRefusesABlockWithLostSectors) {
  ASSERT_TRUE(rig.volume->add(block));
  ASSERT_TRUE(rig.volume->mark_lost(block));
  EXPECT_EQ(rig.volume->remove(block).error().code, Errc::lost);
  EXPECT_TRUE(rig.row(kBlock));
}

TEST_F(Verbs, RemoveThatCannotBeCommittedKeepsTheEntry) {
  ASSERT_TRUE(rig.volume->add(block));
  rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_EQ(rig.volume->remove(block).error().code, Errc::store);
  EXPECT_TRUE(rig.row(kBlock));
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(*rig.read(kAt, 4096), data);
}

TEST_F(Verbs, MarkLostFailsReadsUntilRewrittenAndKeepsTheSlot) {
  ASSERT_TRUE(rig.volume->add(block));
  const SlotAddress slot = rig.row(kBlock)->where;
  EXPECT_EQ(*rig.volume->mark_lost(block), Outcome::done);
  EXPECT_EQ(*rig.volume->mark_lost(block), Outcome::already);
  EXPECT_EQ(rig.read(kAt, 512).error().code, Errc::lost);
  EXPECT_EQ(rig.volume->status().lost_sectors, 8U);
  const auto sector = pattern(kAt, 512, 3);
  ASSERT_TRUE(rig.write(kAt, sector));
  EXPECT_EQ(*rig.read(kAt, 512), sector);
  EXPECT_EQ(rig.read(kAt + 512, 512).error().code, Errc::lost);
  EXPECT_EQ(rig.row(kBlock)->where, slot);
}

TEST_F(Verbs, ClearLostBringsBackWhatTheSlotHolds) {
  ASSERT_TRUE(rig.volume->add(block));
  ASSERT_TRUE(rig.volume->mark_lost(block));
  EXPECT_EQ(*rig.volume->clear_lost(block), Outcome::done);
  EXPECT_EQ(*rig.read(kAt, 4096), data);
}

TEST_F(Verbs, ClearLostBringsBackAPrimaryThatCanBeReadAgain) {
  const FaultId fault = rig.primary->add_bad_sectors(kAt / 512, 2, FaultRule::On::read);
  EXPECT_FALSE(rig.read(kAt, 4096));
  EXPECT_EQ(*rig.volume->clear_lost(block), Outcome::still_bad);
  rig.primary->remove_fault(fault);
  EXPECT_EQ(*rig.volume->clear_lost(block), Outcome::done);
  EXPECT_FALSE(rig.row(kBlock)) << "an entry without a slot and without lost sectors says nothing";
  EXPECT_EQ(*rig.read(kAt, 4096), data);
}

// The slot of a block that was lost when it got it holds only what was written since: the rest of the slot was never
// this block's data, and the primary's copy is older than the slot.
TEST_F(Verbs, ClearLostNeverServesSlotSectorsThatWereNeverWritten) {
  rig.primary->add_bad_sectors(kAt / 512, 8, FaultRule::On::read);
  EXPECT_FALSE(rig.read(kAt, 4096));
  const auto sector = pattern(kAt, 512, 3);
  ASSERT_TRUE(rig.write(kAt, sector));
  rig.primary->clear_faults();
  EXPECT_EQ(*rig.volume->clear_lost(block), Outcome::still_bad);
  EXPECT_EQ(*rig.volume->retest(block), Outcome::still_bad);
  EXPECT_EQ(*rig.read(kAt, 512), sector);
  for (std::uint64_t s = 1; s < 8; ++s) EXPECT_EQ(rig.read(kAt + s * 512, 512).error().code, Errc::lost);
}

TEST_F(Verbs, RetestFindsABlockThatDied) {
  EXPECT_EQ(*rig.volume->retest(block), Outcome::done);
  EXPECT_FALSE(rig.row(kBlock));
  rig.primary->add_bad_sectors(kAt / 512, 1, FaultRule::On::read);
  EXPECT_EQ(*rig.volume->retest(block), Outcome::still_bad);
  EXPECT_EQ(rig.row(kBlock)->valid_mask, 0xFEU);
}

TEST_F(Verbs, BlockThatIsInUseIsWaitedForLongerThanItIsTried) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(40);
  rig.mount(options);
  AlignedBuffer buffer = *AlignedBuffer::allocate(4096);
  DirectAccess access;
  ASSERT_TRUE(rig.volume->begin(access, {ByteOffset(3 * 4096), ByteOffset(4 * 4096)}, buffer.data(), false));
  std::atomic<bool> begun{false};
  std::thread adding([&] {
    begun = true;
    const auto added = rig.volume->add(BlockIndex(3));
    EXPECT_TRUE(added) << describe(added.error());
  });
  while (!begun) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  VolumeRig::carry_out(access, buffer.data());
  EXPECT_TRUE(rig.volume->end(access));
  adding.join();
  EXPECT_TRUE(rig.row(3));
}

TEST_F(Verbs, BlocksOutsideTheDiskAreRefused) {
  const BlockIndex outside(1024);
  EXPECT_EQ(rig.volume->add(outside).error().code, Errc::invalid);
  EXPECT_EQ(rig.volume->remove(outside).error().code, Errc::invalid);
  EXPECT_EQ(rig.volume->retest(outside).error().code, Errc::invalid);
  EXPECT_EQ(rig.volume->mark_lost(outside).error().code, Errc::invalid);
  EXPECT_EQ(rig.volume->clear_lost(outside).error().code, Errc::invalid);
}

TEST(VerbsOnPartialBlock, LastBlockOfTheDiskMovesThereAndBack) {
  VolumeRig rig({.disk_bytes = (1U << 20U) + 1536});
  const auto data = pattern(1 << 20, 1536, 0);
  rig.primary->poke(ByteOffset(1 << 20), data);
  EXPECT_EQ(*rig.volume->add(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  EXPECT_EQ(*rig.read(1 << 20, 4096), data);
  EXPECT_EQ(*rig.volume->mark_lost(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(rig.volume->status().lost_sectors, 3U) << "sectors past the end are not lost";
  EXPECT_EQ(*rig.volume->clear_lost(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(*rig.volume->remove(BlockIndex(256)), Outcome::done);
  EXPECT_EQ(*rig.read(1 << 20, 4096), data);
}

}  // namespace
}  // namespace remapfs::testing
