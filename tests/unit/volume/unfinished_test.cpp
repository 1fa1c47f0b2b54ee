// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <thread>

#include "support/volume_rig.hpp"

// Commits whose rows are durable when their spare goes away: nobody is told of them before the spare has its part, and
// `resume` brings it.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBlock = 4096;

CommitFailure unfinished(Errc code, int os_errno, SpareId spare = 1) {
  CommitFailure failure;
  failure.error = {code, os_errno, {}};
  failure.spare = spare;
  failure.unfinished = true;
  return failure;
}

class Unfinished : public ::testing::Test {
 protected:
  // The spare goes away in the next commit.
  void lose_spare_in_commit() {
    rig.store->failures.push_back(unfinished(Errc::device_gone, ENODEV));
    rig.store->before_commit = [this](const MapTransaction& transaction) {
      if (!transaction.changes.empty()) rig.spare().set_outage(Outage::gone);
    };
  }
  Result<void> bring_it_back() {
    rig.store->before_commit = {};
    rig.spare().set_outage(Outage::none);
    const auto resumed = rig.volume->resume();
    return resumed ? Result<void>() : fail(resumed.error());
  }

  VolumeRig rig{RigOptions{}};
  const std::vector<std::byte> data = pattern(6 * kBlock, kBlock, 1);
};

TEST_F(Unfinished, ItsBlockAnswersNothingUntilResumeAndThenWhatWasWritten) {
  ASSERT_TRUE(rig.write(6 * kBlock, data));
  lose_spare_in_commit();
  EXPECT_EQ(rig.volume->add(BlockIndex(6)).error().code, Errc::suspended);
  EXPECT_EQ(rig.read(6 * kBlock, kBlock).error().code, Errc::suspended);
  EXPECT_EQ(rig.write(6 * kBlock, data).error().code, Errc::suspended);
  EXPECT_TRUE(rig.read(7 * kBlock, kBlock)) << "others are served";
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
  EXPECT_EQ(rig.volume->status().reasons.size(), 2U);
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  EXPECT_EQ(*rig.read(6 * kBlock, kBlock), data);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  EXPECT_EQ(rig.volume->status().relocations, 1U);
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done) << "the map is written again";
}

TEST_F(Unfinished, RequestThatMayWaitIsDoneAfterResume) {
  rig.unmount();
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.mount(options);
  rig.primary->add_bad_sectors(6 * 8, 1, FaultRule::On::write);
  lose_spare_in_commit();
  std::thread writer([&] { EXPECT_TRUE(rig.write(6 * kBlock, data)); });
  while (rig.volume->status().state != VolumeState::suspended) std::this_thread::yield();
  EXPECT_TRUE(bring_it_back());
  writer.join();
  EXPECT_EQ(*rig.read(6 * kBlock, kBlock), data);
  EXPECT_EQ(rig.row(6)->state, EntryState::remapped);
}

// So does one that finds the spare gone before anything is durable.
TEST_F(Unfinished, RequestWaitsAlsoWhenNothingWasCommitted) {
  rig.unmount();
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.mount(options);
  rig.primary->add_bad_sectors(6 * 8, 1, FaultRule::On::write);
  for (const bool in_sync : {false, true}) {
    CommitFailure failure = unfinished(Errc::device_gone, ENODEV);
    failure.unfinished = false;
    if (in_sync) failure.sync_failed = failure.spare;
    rig.store->failures.push_back(failure);
    rig.store->before_commit = [this](const MapTransaction& transaction) {
      if (!transaction.changes.empty()) rig.spare().set_outage(Outage::gone);
    };
    std::thread writer([&] { EXPECT_TRUE(rig.write(6 * kBlock, data)); });
    while (!rig.volume->status().suspended) std::this_thread::yield();
    EXPECT_TRUE(bring_it_back());
    writer.join();
    EXPECT_EQ(*rig.read(6 * kBlock, kBlock), data);
    static_cast<void>(rig.volume->flush());
    rig.primary->clear_faults();
    ASSERT_TRUE(rig.volume->remove(BlockIndex(6)));
    rig.primary->add_bad_sectors(6 * 8, 1, FaultRule::On::write);
  }
}

TEST_F(Unfinished, LeftSlotIsFreeOnlyWhenItIsFinished) {
  ASSERT_EQ(*rig.volume->add(BlockIndex(6)), Outcome::done);
  ASSERT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done);
  lose_spare_in_commit();
  EXPECT_EQ(rig.volume->remove(BlockIndex(6)).error().code, Errc::suspended);
  EXPECT_EQ(rig.volume->status().slots_free, 254U);
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
  EXPECT_TRUE(rig.read(6 * kBlock, kBlock));
  // A tag that cannot be cleared: its slot is not used again.
  const SlotAddress left = rig.row(7)->where;
  lose_spare_in_commit();
  EXPECT_EQ(rig.volume->remove(BlockIndex(7)).error().code, Errc::suspended);
  rig.store->finish_report.uncleared = {left};
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(rig.volume->status().slots_total, 255U);
}

TEST_F(Unfinished, ResumeThatCannotFinishItIsRunAgain) {
  lose_spare_in_commit();
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  CommitFailure again = unfinished(Errc::device_gone, ENODEV);
  rig.store->finish_failures.push_back(again);
  EXPECT_EQ(bring_it_back().error().code, Errc::device_gone);
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended) << "it has gone again";
  EXPECT_EQ(rig.read(6 * kBlock, kBlock).error().code, Errc::suspended);
  // The next one fails in its sync.
  again.error = {Errc::media, EIO, {}};
  again.sync_failed = 1;
  rig.store->finish_failures.push_back(again);
  rig.spare().fail_syncs(1);
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_EQ(rig.read(6 * kBlock, kBlock).error().code, Errc::failed);
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
  rig.spare().fail_syncs(0);
  EXPECT_EQ(*rig.volume->resume(), Outcome::done);
  EXPECT_TRUE(rig.read(6 * kBlock, kBlock));
  EXPECT_EQ(*rig.volume->resume(), Outcome::already);
}

// A disk that is pulled answers with EIO, as one with a bad sector does.
TEST_F(Unfinished, SpareThatFailsEverywhereIsGone) {
  for (const Outage outage : {Outage::failing, Outage::none}) {
    rig.store->failures.push_back(unfinished(Errc::media, EIO));
    rig.store->before_commit = [this, outage](const MapTransaction& transaction) {
      if (!transaction.changes.empty()) rig.spare().set_outage(outage);
    };
    const auto failed = rig.volume->add(BlockIndex(6));
    const bool gone = outage == Outage::failing;
    EXPECT_EQ(failed.error().code, gone ? Errc::suspended : Errc::failed);
    EXPECT_EQ(rig.volume->status().state, gone ? VolumeState::suspended : VolumeState::failed);
    ASSERT_TRUE(bring_it_back());
    EXPECT_EQ(*rig.volume->remove(BlockIndex(6)), Outcome::done);
  }
}

TEST_F(Unfinished, WhatItWroteBeforeIsToldByTheNextFlush) {
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.volume->flush());
  ASSERT_TRUE(rig.write(5 * kBlock, pattern(5 * kBlock, kBlock, 2)));
  lose_spare_in_commit();
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_TRUE(rig.volume->flush());
}

}  // namespace
}  // namespace remapfs::testing
