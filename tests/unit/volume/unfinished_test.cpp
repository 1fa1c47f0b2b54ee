// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <thread>

#include "support/volume_rig.hpp"

// Commits whose rows are durable when their spare goes away: nobody is told of them before the spare has its part, and
// `resume` brings it.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;

CommitFailure unfinished(Errc code, int os_errno, std::vector<SpareId> spares = {1}) {
  CommitFailure failure;
  failure.error = {code, os_errno, {}};
  failure.spare = spares.front();
  for (const SpareId id : spares) failure.unfinished.push_back({id, failure.error, false});
  return failure;
}

class Unfinished : public ::testing::Test {
 protected:
  // Requests wait, and a write to block 6 needs a slot.
  void wait_for_devices() {
    rig.unmount();
    VolumeOptions options;
    options.on_loss = OnLoss::wait;
    rig.mount(options);
    rig.primary->add_bad_sectors(6 * 8, 1, FaultRule::On::write);
  }
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
  const std::vector<std::byte> data = pattern(6 * kBlockBytes, kBlockBytes, 1);
};

TEST_F(Unfinished, ItsBlockAnswersNothingUntilResumeAndThenWhatWasWritten) {
  ASSERT_TRUE(rig.write(6 * kBlockBytes, data));
  lose_spare_in_commit();
  EXPECT_EQ(rig.volume->add(BlockIndex(6)).error().code, Errc::suspended);
  EXPECT_EQ(rig.read(6 * kBlockBytes, kBlockBytes).error().code, Errc::suspended);
  EXPECT_EQ(rig.write(6 * kBlockBytes, data).error().code, Errc::suspended);
  EXPECT_TRUE(rig.read(7 * kBlockBytes, kBlockBytes)) << "others are served";
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
  EXPECT_EQ(rig.volume->status().reasons.size(), 2U);
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  EXPECT_EQ(*rig.read(6 * kBlockBytes, kBlockBytes), data);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
  EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  EXPECT_EQ(rig.volume->status().relocations, 1U);
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done) << "the map is written again";
}

TEST_F(Unfinished, RequestThatMayWaitIsDoneAfterResume) {
  wait_for_devices();
  lose_spare_in_commit();
  std::thread writer([&] { EXPECT_TRUE(rig.write(6 * kBlockBytes, data)); });
  while (rig.volume->status().state != VolumeState::suspended) std::this_thread::yield();
  EXPECT_TRUE(bring_it_back());
  writer.join();
  EXPECT_EQ(*rig.read(6 * kBlockBytes, kBlockBytes), data);
  EXPECT_EQ(rig.row(6)->state, EntryState::remapped);
}

// So does one that finds the spare gone before anything is durable.
TEST_F(Unfinished, RequestWaitsAlsoWhenNothingWasCommitted) {
  wait_for_devices();
  for (const bool in_sync : {false, true}) {
    CommitFailure failure = unfinished(Errc::device_gone, ENODEV);
    failure.unfinished.clear();
    if (in_sync) failure.sync_failed = failure.spare;
    rig.store->failures.push_back(failure);
    rig.store->before_commit = [this](const MapTransaction& transaction) {
      if (!transaction.changes.empty()) rig.spare().set_outage(Outage::gone);
    };
    std::thread writer([&] { EXPECT_TRUE(rig.write(6 * kBlockBytes, data)); });
    while (!rig.volume->status().suspended) std::this_thread::yield();
    EXPECT_TRUE(bring_it_back());
    writer.join();
    EXPECT_EQ(*rig.read(6 * kBlockBytes, kBlockBytes), data);
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
  EXPECT_TRUE(rig.read(6 * kBlockBytes, kBlockBytes));
  // A tag that cannot be cleared: its slot is not used again.
  const SlotAddress left = rig.row(7)->where;
  lose_spare_in_commit();
  EXPECT_EQ(rig.volume->remove(BlockIndex(7)).error().code, Errc::suspended);
  rig.store->finish_report = {left};
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->status().slots_free, 255U);
  EXPECT_EQ(rig.volume->status().slots_total, 255U);
}

TEST_F(Unfinished, ResumeThatCannotFinishItIsRunAgain) {
  lose_spare_in_commit();
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  rig.store->finish_failures[1] = {1, {Errc::device_gone, ENODEV, {}}, false};
  EXPECT_EQ(bring_it_back().error().code, Errc::device_gone);
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended) << "it has gone again";
  EXPECT_EQ(rig.read(6 * kBlockBytes, kBlockBytes).error().code, Errc::suspended);
  // The next one fails in its sync.
  rig.store->finish_failures[1] = {1, {Errc::media, EIO, {}}, true};
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_EQ(rig.read(6 * kBlockBytes, kBlockBytes).error().code, Errc::failed);
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
  EXPECT_EQ(*rig.volume->resume(), Outcome::done);
  EXPECT_TRUE(rig.read(6 * kBlockBytes, kBlockBytes));
  EXPECT_EQ(*rig.volume->resume(), Outcome::already);
}

// Gone again while `resume` is at it, with EIO: who waits goes on waiting.
TEST_F(Unfinished, ResumeInWhichTheSpareFailsEverywhereAgainWakesNobodyForAnError) {
  lose_spare_in_commit();
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  rig.store->before_commit = {};
  rig.spare().set_outage(Outage::none);
  unsigned reads = 0;
  rig.spare().set_before([&](const FakeOperation&) {
    // The probe of `resume`, and then no more.
    if (++reads == 2) rig.spare().set_outage(Outage::failing);
  });
  rig.store->finish_failures[1] = {1, {Errc::media, EIO, {}}, true};
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->status().suspended);
  EXPECT_EQ(rig.read(6 * kBlockBytes, kBlockBytes).error().code, Errc::suspended);
  rig.spare().set_before({});
  ASSERT_TRUE(bring_it_back());
  EXPECT_TRUE(rig.read(6 * kBlockBytes, kBlockBytes));
}

// What a spare that works needs does not wait for another one.
TEST(UnfinishedOnTwo, EachIsFinishedWhenItsSparesAreBack) {
  VolumeRig rig({.spares = 2});
  ASSERT_TRUE(rig.write(5 * kBlockBytes, pattern(5 * kBlockBytes, kBlockBytes, 1)));
  rig.store->failures.push_back(unfinished(Errc::device_gone, ENODEV, {1}));
  EXPECT_EQ(rig.volume->add(BlockIndex(5)).error().code, Errc::suspended);
  rig.store->failures.push_back(unfinished(Errc::device_gone, ENODEV, {1, 2}));
  EXPECT_EQ(rig.volume->add(BlockIndex(6)).error().code, Errc::suspended);
  rig.spares[1]->set_outage(Outage::gone);
  rig.store->finish_failures[2] = {2, {Errc::device_gone, ENODEV, {}}, false};
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_EQ(*rig.read(5 * kBlockBytes, kBlockBytes), pattern(5 * kBlockBytes, kBlockBytes, 1));
  EXPECT_EQ(rig.read(6 * kBlockBytes, kBlockBytes).error().code, Errc::suspended);
  EXPECT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done) << "on the one that is back";
  EXPECT_EQ(rig.row(7)->where.spare, 1);
  rig.spares[1]->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.read(6 * kBlockBytes, kBlockBytes));
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
}

// It works, and still nothing new is put there: another one takes it.
TEST(UnfinishedOnTwo, SpareThatIsBehindGetsNoBlocks) {
  VolumeRig rig({.spares = 2});
  rig.store->failures.push_back(unfinished(Errc::media, EIO, {1}));
  EXPECT_EQ(rig.volume->add(BlockIndex(5)).error().code, Errc::failed);
  rig.primary->add_bad_sectors(6 * 8, 1, FaultRule::On::write);
  EXPECT_TRUE(rig.write(6 * kBlockBytes, pattern(6 * kBlockBytes, kBlockBytes, 1)));
  EXPECT_EQ(rig.row(6)->where.spare, 2);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done);
  EXPECT_EQ(rig.row(7)->where.spare, 1);
}

// The spare that blocks have left may be the only one that knows of them.
TEST(UnfinishedOnThree, NoSpareLeavesMeanwhile) {
  VolumeRig rig({.spares = 3});
  const auto whatever = [](BlockIndex) { return true; };
  const auto data = pattern(5 * kBlockBytes, kBlockBytes, 1);
  ASSERT_TRUE(rig.write(5 * kBlockBytes, data));
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  rig.store->failures.push_back(unfinished(Errc::device_gone, ENODEV, {2}));
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (!transaction.changes.empty()) rig.spares[1]->set_outage(Outage::gone);
  };
  EXPECT_EQ(rig.volume->retire_spare(1, whatever).error().code, Errc::suspended);
  rig.store->before_commit = {};
  EXPECT_EQ(rig.volume->retire_spare(1, whatever).error().code, Errc::suspended)
      << "though nothing seems to live there";
  rig.spares[1]->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(*rig.read(5 * kBlockBytes, kBlockBytes), data);
  EXPECT_EQ(rig.row(5)->where.spare, 2);
  static_cast<void>(rig.volume->flush());
  EXPECT_TRUE(rig.volume->retire_spare(1, whatever));
  EXPECT_EQ(*rig.read(5 * kBlockBytes, kBlockBytes), data);
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
  ASSERT_TRUE(rig.write(5 * kBlockBytes, pattern(5 * kBlockBytes, kBlockBytes, 2)));
  lose_spare_in_commit();
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  ASSERT_TRUE(bring_it_back());
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_TRUE(rig.volume->flush());
}

}  // namespace
}  // namespace remapfs::testing
