// SPDX-License-Identifier: Apache-2.0
#include "volume/scrubber.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "support/volume_rig.hpp"
#include "volume/scrub_pace.hpp"

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kBlocks = 1024;
constexpr ScrubRequest kStart{ScrubAction::start, std::nullopt};
constexpr ScrubRequest kPause{ScrubAction::pause, std::nullopt};
constexpr ScrubRequest kResume{ScrubAction::resume, std::nullopt};
constexpr ScrubRequest kStop{ScrubAction::stop, std::nullopt};
constexpr auto kLong = 30s;

class Scrubbing : public ::testing::Test {
 protected:
  std::uint64_t events(const std::string& kind) const {
    return static_cast<std::uint64_t>(std::count_if(rig.map.events.begin(), rig.map.events.end(),
                                                    [&](const Event& event) { return event.kind == kind; }));
  }
  // So slow that it is never done by itself.
  static ScrubRequest slowly(ScrubAction action = ScrubAction::start) { return {action, 64U << 10U}; }
  static void wait_for_a_step(const Scrubber& scrubber, BlockIndex past = BlockIndex(0)) {
    for (int i = 0; i < 1000 && scrubber.status().record.next <= past; ++i) std::this_thread::sleep_for(10ms);
    ASSERT_GT(scrubber.status().record.next, past);
  }

  VolumeRig rig{RigOptions{}};
};

TEST_F(Scrubbing, RunsToTheEndAndSaysWhatItFound) {
  rig.primary->add_bad_sectors(80, 3);
  Scrubber scrubber(*rig.volume, true);
  EXPECT_EQ(scrubber.status().record.state, ScrubState::never);
  EXPECT_EQ(scrubber.status().total_blocks, kBlocks);
  EXPECT_EQ(*scrubber.apply(kStart), Outcome::done);
  ASSERT_TRUE(scrubber.wait(kLong));
  const ScrubRecord record = scrubber.status().record;
  EXPECT_EQ(record.state, ScrubState::finished);
  EXPECT_EQ(record.next, BlockIndex(kBlocks));
  EXPECT_EQ(record.found, (ScrubFindings{.lost_sectors = 3}));
  EXPECT_EQ(record.started_at.size(), 20U);
  EXPECT_EQ(events("scrub-started"), 1U);
  EXPECT_EQ(*scrubber.apply(kPause), Outcome::already);
  EXPECT_EQ(*scrubber.apply(kStop), Outcome::already);
  EXPECT_EQ(*scrubber.apply(kResume), Outcome::done) << "nothing to resume: from the beginning";
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_EQ(scrubber.status().record.found, ScrubFindings{});
}

TEST_F(Scrubbing, FinishedScrubIsInTheMap) {
  {
    Scrubber scrubber(*rig.volume, true);
    ASSERT_TRUE(scrubber.apply(kStart));
    ASSERT_TRUE(scrubber.wait(kLong));
  }
  EXPECT_EQ(rig.map.scrub.state, ScrubState::finished);
  EXPECT_EQ(rig.map.scrub.next, BlockIndex(kBlocks));
  EXPECT_EQ(events("scrub-finished"), 1U);
  rig.remount();
  Scrubber next(*rig.volume, true);
  EXPECT_EQ(next.status().record.state, ScrubState::finished);
  EXPECT_TRUE(next.wait(0ms));
}

TEST_F(Scrubbing, GoesOnAfterARemountWhereItStopped) {
  {
    Scrubber scrubber(*rig.volume, true);
    ASSERT_TRUE(scrubber.apply(slowly()));
    wait_for_a_step(scrubber);
    EXPECT_EQ(*scrubber.apply(kStart), Outcome::already);
  }
  const BlockIndex reached = rig.map.scrub.next;
  EXPECT_EQ(rig.map.scrub.state, ScrubState::running);
  EXPECT_GT(reached, BlockIndex(0));
  EXPECT_LT(reached, BlockIndex(kBlocks));

  rig.remount();
  rig.primary->add_bad_sectors(0, 8);  // not read again
  Scrubber scrubber(*rig.volume, true);
  wait_for_a_step(scrubber, reached);
  ASSERT_TRUE(scrubber.apply({ScrubAction::start, 0}));  // as fast as it can from here on
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_EQ(scrubber.status().record.state, ScrubState::finished);
  EXPECT_TRUE(rig.map.rows.empty());
}

TEST_F(Scrubbing, AfterACrashLittleIsDoneAgain) {
  {
    Scrubber scrubber(*rig.volume, true, 0ms);  // saves after each step
    ASSERT_TRUE(scrubber.apply(slowly()));
    wait_for_a_step(scrubber);
    ASSERT_TRUE(scrubber.apply(kPause));
    rig.map.scrub.state = ScrubState::running;  // as it was when the process died
  }
  EXPECT_GT(rig.map.scrub.next, BlockIndex(0));
  rig.remount();
  Scrubber scrubber(*rig.volume, true);
  EXPECT_EQ(scrubber.status().record.state, ScrubState::running);
  EXPECT_GE(scrubber.status().record.next, rig.map.scrub.next);
}

TEST_F(Scrubbing, PauseHoldsItThereAndResumeGoesOn) {
  rig.primary->reset_counters();
  Scrubber scrubber(*rig.volume, true);
  ASSERT_TRUE(scrubber.apply(slowly()));
  wait_for_a_step(scrubber);
  EXPECT_EQ(*scrubber.apply(kPause), Outcome::done);
  EXPECT_EQ(rig.map.scrub.state, ScrubState::paused);
  std::this_thread::sleep_for(50ms);  // a step that was under way
  const auto reads = rig.primary->counters().reads;
  const BlockIndex reached = scrubber.status().record.next;
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(rig.primary->counters().reads, reads);
  EXPECT_EQ(scrubber.status().bytes_per_second, 0U);
  EXPECT_EQ(*scrubber.apply({ScrubAction::resume, 0}), Outcome::done);
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_EQ(events("scrub-started"), 1U) << "the same scrub";
  EXPECT_EQ(rig.primary->counters().bytes_read, kBlocks * 4096) << "nothing twice";
  EXPECT_GT(reached, BlockIndex(0));
}

TEST_F(Scrubbing, StopForgetsWhereItWas) {
  Scrubber scrubber(*rig.volume, true);
  ASSERT_TRUE(scrubber.apply(slowly()));
  wait_for_a_step(scrubber);
  ASSERT_TRUE(scrubber.apply(kPause));
  EXPECT_EQ(*scrubber.apply(kStop), Outcome::done);
  EXPECT_EQ(rig.map.scrub.state, ScrubState::stopped);
  rig.primary->reset_counters();
  EXPECT_EQ(*scrubber.apply({ScrubAction::resume, 0}), Outcome::done);
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_GE(rig.primary->counters().bytes_read, kBlocks * 4096);
}

TEST_F(Scrubbing, OfAMapThatIsOnlyOpenedDoesNotGoOnByItself) {
  rig.map.scrub = {ScrubState::running, BlockIndex(7), 0, {}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"};
  rig.remount();
  rig.primary->reset_counters();
  Scrubber scrubber(*rig.volume, false);
  EXPECT_TRUE(scrubber.wait(0ms));
  EXPECT_EQ(scrubber.status().record.next, BlockIndex(7));
  EXPECT_EQ(rig.primary->counters().reads, 0U);
  EXPECT_EQ(*scrubber.apply(kStop), Outcome::done);
}

TEST_F(Scrubbing, RateIsALimit) {
  Scrubber scrubber(*rig.volume, true);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(scrubber.apply({ScrubAction::start, 8U << 20U}));  // 4 MiB in half a second
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 350ms);
}

TEST_F(Scrubbing, WaitsForADeviceThatDoesNotWork) {
  rig.primary->set_outage(Outage::gone);
  Scrubber scrubber(*rig.volume, true);
  ASSERT_TRUE(scrubber.apply(kStart));
  for (int i = 0; i < 1000 && scrubber.status().trouble.empty(); ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(scrubber.status().record.state, ScrubState::running);
  EXPECT_FALSE(scrubber.status().trouble.empty());
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_EQ(scrubber.status().record.state, ScrubState::finished);
  EXPECT_TRUE(scrubber.status().trouble.empty());
  EXPECT_TRUE(rig.map.rows.empty());
}

TEST_F(Scrubbing, MapThatCannotBeWrittenPausesIt) {
  rig.primary->add_bad_sectors(80, 1);
  Scrubber scrubber(*rig.volume, true);
  rig.store->before_commit = [this](const MapTransaction& transaction) {
    if (!transaction.changes.empty()) rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  };
  ASSERT_TRUE(scrubber.apply(kStart));
  ASSERT_TRUE(scrubber.wait(kLong));
  EXPECT_EQ(scrubber.status().record.state, ScrubState::paused);
  EXPECT_FALSE(scrubber.status().trouble.empty());
}

TEST_F(Scrubbing, EndThatCannotBeSavedIsSavedLater) {
  Scrubber scrubber(*rig.volume, true);
  std::atomic<bool> full = true;
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (full && transaction.scrub && transaction.scrub->state == ScrubState::finished) {
      rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
    }
  };
  ASSERT_TRUE(scrubber.apply(kStart));
  ASSERT_TRUE(scrubber.wait(kLong));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(rig.map.scrub.state, ScrubState::running);
  full = false;
  for (int i = 0; i < 1000 && rig.map.scrub.state != ScrubState::finished; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(rig.map.scrub.state, ScrubState::finished);
  EXPECT_EQ(events("scrub-finished"), 1U);
}

TEST_F(Scrubbing, MapOfUnknownOutcomeIsAFailedVolume) {
  Scrubber scrubber(*rig.volume, true);
  rig.store->failures.push_back({Error{Errc::commit_unknown, EIO, {}}, {}, {}});
  EXPECT_FALSE(scrubber.apply(kStart));
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
  EXPECT_EQ(rig.volume->add(BlockIndex(3)).error().code, Errc::failed);
}

TEST_F(Scrubbing, RateThatTheMapCannotHoldIsRefused) {
  Scrubber scrubber(*rig.volume, true);
  EXPECT_EQ(scrubber.apply({ScrubAction::start, std::uint64_t{1} << 63U}).error().code, Errc::invalid);
  EXPECT_EQ(scrubber.status().record.state, ScrubState::never);
}

TEST_F(Scrubbing, EndsBetweenTwoBlocksOnADiskThatFailsSlowly) {
  rig.primary->add_bad_sectors(8, 1);
  std::atomic<std::uint64_t> reads = 0;
  rig.primary->set_before([&](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::read && ++reads > 1) std::this_thread::sleep_for(50ms);
  });
  const auto begin = std::chrono::steady_clock::now();
  {
    Scrubber scrubber(*rig.volume, true);
    ASSERT_TRUE(scrubber.apply(kStart));
    while (reads < 6) std::this_thread::sleep_for(1ms);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s) << "256 blocks would take 13 s";
  EXPECT_GT(rig.map.scrub.next, BlockIndex(0));
  EXPECT_LT(rig.map.scrub.next, BlockIndex(256));
}

TEST_F(Scrubbing, ReadOnlyVolumeIsRefused) {
  rig.unmount();
  VolumeOptions options;
  options.read_only = true;
  rig.mount(std::move(options));
  Scrubber scrubber(*rig.volume, true);
  EXPECT_EQ(scrubber.apply(kStart).error().code, Errc::read_only);
  EXPECT_EQ(*scrubber.apply(kStop), Outcome::already);
}

TEST_F(Scrubbing, YieldsToRequests) {
  rig.primary->set_before([](const FakeOperation&) { std::this_thread::sleep_for(1ms); });
  Scrubber scrubber(*rig.volume, true);
  const auto time_one = [&] {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(scrubber.apply({ScrubAction::start, 0}));
    EXPECT_TRUE(scrubber.wait(kLong));
    return std::chrono::steady_clock::now() - begin;
  };
  const auto alone = time_one();
  std::atomic<bool> enough = false;
  std::atomic<bool> busy = false;
  std::thread user([&] {
    for (; !enough; busy = true) EXPECT_TRUE(rig.read(0, 4096));
  });
  while (!busy) std::this_thread::yield();
  const auto beside_others = time_one();
  enough = true;
  user.join();
  EXPECT_GT(beside_others, 3 * alone);
}

TEST(ScrubPace, IsAsFastAsTheDeviceWhenAlone) {
  const ScrubPace pace(4096, 0, false);
  EXPECT_EQ(pace.blocks(), 256U);
  EXPECT_EQ(pace.pause_after(ByteCount(1 << 20), 10ms), 0ms);
}

TEST(ScrubPace, LeavesFourFifthsOfTheTimeToOthers) {
  const ScrubPace pace(4096, 0, true);
  EXPECT_EQ(pace.blocks(), 64U);
  EXPECT_EQ(pace.pause_after(ByteCount(1 << 18), 5ms), 20ms);
  EXPECT_EQ(pace.pause_after(ByteCount(1 << 18), 1us), 10ms);
}

TEST(ScrubPace, KeepsBelowTheLimitInShortSteps) {
  EXPECT_EQ(ScrubPace(4096, 1 << 20, false).blocks(), 64U);
  EXPECT_EQ(ScrubPace(4096, 1 << 20, false).pause_after(ByteCount(1 << 18), 50ms), 200ms);
  EXPECT_EQ(ScrubPace(4096, 1 << 20, true).pause_after(ByteCount(1 << 18), 100ms), 400ms) << "the longer of the two";
  EXPECT_EQ(ScrubPace(32768, 1000, false).blocks(), 1U) << "never nothing";
}

}  // namespace
}  // namespace remapfs::testing
