// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/volume_rig.hpp"

// A broken device is not a bad sector (promise I6).

namespace remapfs::testing {
namespace {

class Breaker : public ::testing::Test {
 protected:
  VolumeRig rig{RigOptions{}};

  void expect_suspended_without_entries() {
    EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
    EXPECT_TRUE(rig.map.rows.empty());
    EXPECT_TRUE(rig.map.retired.empty());
    ASSERT_FALSE(rig.map.events.empty());
    EXPECT_EQ(rig.map.events.back().kind, "breaker-open");
  }
};

TEST_F(Breaker, VanishedDeviceMapsNothing) {
  rig.primary->set_outage(Outage::gone);
  EXPECT_EQ(rig.read(0, 4096).error().code, Errc::suspended);
  EXPECT_EQ(rig.write(8192, pattern(8192, 4096, 1)).error().code, Errc::suspended);
  expect_suspended_without_entries();
}

TEST_F(Breaker, DeviceThatFailsEverywhereMapsNothing) {
  rig.primary->set_outage(Outage::failing);
  EXPECT_EQ(rig.read(1 << 20, 65536).error().code, Errc::suspended);
  expect_suspended_without_entries();
}

TEST_F(Breaker, DeviceGoneReadOnlyMapsNothing) {
  rig.primary->set_outage(Outage::read_only);
  EXPECT_TRUE(rig.read(1 << 20, 4096));
  EXPECT_EQ(rig.write(1 << 20, pattern(0, 4096, 1)).error().code, Errc::suspended);
  expect_suspended_without_entries();
}

TEST_F(Breaker, SpareThatVanishedRetiresNoSlots) {
  rig.primary->add_bad_sectors(80, 8);
  rig.spare().set_outage(Outage::gone);
  EXPECT_FALSE(rig.write(80 * 512, pattern(80 * 512, 4096, 1)));
  expect_suspended_without_entries();
  EXPECT_EQ(rig.volume->status().slots_free, 256U);
}

// Somebody's sync was the first to fail, and he has not said yet why: who hears of it finds out for himself.
TEST_F(Breaker, SpareThatVanishedWithASyncIsSuspendedForWhoeverNeedsASlot) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(5)));
  ASSERT_TRUE(rig.write(5 * 4096, pattern(0, 4096, 1)));
  rig.spare().fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  rig.primary->add_bad_sectors(80, 8, FaultRule::On::write);
  EXPECT_EQ(rig.write(80 * 512, pattern(80 * 512, 4096, 1)).error().code, Errc::failed) << "it works";
  EXPECT_FALSE(rig.volume->status().suspended);
  rig.spare().set_outage(Outage::gone);
  EXPECT_EQ(rig.write(80 * 512, pattern(80 * 512, 4096, 1)).error().code, Errc::suspended);
  EXPECT_TRUE(rig.volume->status().suspended);
}

TEST_F(Breaker, SpareThatFailsEveryWriteRetiresNoSlots) {
  rig.primary->add_bad_sectors(80, 8);
  rig.spare().set_outage(Outage::read_only);
  EXPECT_FALSE(rig.write(80 * 512, pattern(80 * 512, 4096, 1)));
  expect_suspended_without_entries();
}

// That it worked a moment ago excuses one slot, not one after the other.
TEST_F(Breaker, SpareThatDiesRightAfterAProbeLosesNoMoreThanTwoSlots) {
  rig.primary->add_bad_sectors(80, 16);
  rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512, 8);
  ASSERT_TRUE(rig.write(80 * 512, pattern(80 * 512, 4096, 1)));
  rig.spare().set_outage(Outage::read_only);
  EXPECT_FALSE(rig.write(88 * 512, pattern(88 * 512, 4096, 1)));
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
  EXPECT_LE(rig.map.retired.size(), 2U);
}

TEST_F(Breaker, OtherErrnosAreAnsweredAndMapNothing) {
  for (const auto& [code, number] : {std::pair{Errc::device_other, EINVAL}, std::pair{Errc::no_space, ENOSPC},
                                     std::pair{Errc::read_only, EROFS}, std::pair{Errc::transport, ENOLINK}}) {
    FaultRule rule;
    rule.range = {ByteOffset(4096), ByteOffset(8192)};
    rule.error = {code, number, {}};
    const FaultId id = rig.primary->add_fault(rule);
    EXPECT_EQ(rig.read(4096, 4096).error().code, code);
    EXPECT_EQ(rig.write(4096, pattern(4096, 4096, 1)).error().code, code);
    rig.primary->remove_fault(id);
  }
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
}

TEST_F(Breaker, TimeoutOfOneBlockIsMediaWhileOthersWork) {
  FaultRule rule;
  rule.range = {ByteOffset(4096), ByteOffset(8192)};
  rule.error = {Errc::timeout, ETIMEDOUT, {}};
  rig.primary->add_fault(rule);
  EXPECT_EQ(rig.read(4096, 4096).error().code, Errc::lost);
  ASSERT_TRUE(rig.row(1));
  EXPECT_EQ(rig.row(1)->state, EntryState::lost);
}

// That it worked a moment ago does not count where a block moves without what cannot be read of it.
TEST_F(Breaker, DeviceThatFailsEverywhereRightAfterAProbeLosesNothingForGood) {
  const auto whole = pattern(30 * 4096, 4096, 1);
  ASSERT_TRUE(rig.write(30 * 4096, whole));
  rig.primary->add_bad_sectors(80, 8);
  ASSERT_TRUE(rig.write(80 * 512, pattern(80 * 512, 512, 1)));
  ASSERT_EQ(rig.row(10)->state, EntryState::remapped) << "and reads and writes have just been seen to work elsewhere";
  rig.primary->set_outage(Outage::failing);
  EXPECT_EQ(rig.write(30 * 4096, pattern(30 * 4096, 512, 2)).error().code, Errc::suspended);
  EXPECT_FALSE(rig.row(30));
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  const auto found = rig.read(30 * 4096, 4096);
  ASSERT_TRUE(found);
  EXPECT_TRUE(std::equal(found->begin() + 512, found->end(), whole.begin() + 512));
}

TEST_F(Breaker, OneProbeServesAHundredMilliseconds) {
  for (std::uint64_t block = 10; block < 40; ++block) rig.primary->add_bad_sectors(block * 8, 1, FaultRule::On::read);
  std::atomic<unsigned> far_reads{0};
  rig.primary->set_before([&](const FakeOperation& op) {
    const std::uint64_t at = op.range.begin.value() / 4096;
    if (op.kind == FakeOperation::Kind::read && (at < 10 || at >= 40)) ++far_reads;
  });
  for (std::uint64_t block = 10; block < 40; ++block) EXPECT_FALSE(rig.read(block * 4096, 4096));
  EXPECT_GE(far_reads, 1U);
  EXPECT_LE(far_reads, 10U);
}

// A disk that dies in many regions, all of its first half among them, still works.
TEST_F(Breaker, DyingRegionsAreNoBrokenDeviceWhereverThePlacesLieThatWorkedBefore) {
  const std::uint64_t sectors = rig.primary->geometry().size.value() / 512;
  rig.primary->add_bad_sectors(0, sectors / 2 + 8);
  EXPECT_EQ(rig.read(0, 4096).error().code, Errc::lost);
  EXPECT_NE(rig.volume->status().state, VolumeState::suspended);
  const auto data = pattern(8192, 4096, 1);
  ASSERT_TRUE(rig.write(8192, data));
  EXPECT_EQ(*rig.read(8192, 4096), data);
}

// Each question may take as long as a dying disk needs to give up.
TEST_F(Breaker, ADeviceThatTakesLongToFailIsAskedThreeTimes) {
  std::atomic<unsigned> asked{0};
  rig.primary->set_before([&](const FakeOperation& op) {
    if (op.range.begin.value() < 4096) return;
    ++asked;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
  rig.primary->set_outage(Outage::failing);
  EXPECT_EQ(rig.read(0, 512).error().code, Errc::suspended);
  EXPECT_EQ(asked, 3U);
  expect_suspended_without_entries();
}

TEST_F(Breaker, ResumeRefusesWhileTheDeviceIsGoneAndGoesOnAfterwards) {
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(0, 4096));
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
  rig.primary->set_outage(Outage::none);
  EXPECT_FALSE(rig.read(0, 4096)) << "only resume goes on";
  EXPECT_EQ(*rig.volume->resume(), Outcome::done);
  EXPECT_TRUE(rig.read(0, 4096));
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  EXPECT_EQ(*rig.volume->resume(), Outcome::already);
}

TEST_F(Breaker, AnotherDeviceInItsPlaceIsRefused) {
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(0, 4096));
  rig.primary->set_outage(Outage::failing);
  rig.primary->set_replaced(true);
  EXPECT_FALSE(rig.volume->resume());
  EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
}

TEST_F(Breaker, FirstFlushFailsAfterUnflushedWritesVanishedWithTheDevice) {
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(65536, 4096));
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_TRUE(rig.volume->flush());
}

TEST_F(Breaker, FlushedDeviceThatVanishedFlushesAgainAfterResume) {
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  ASSERT_TRUE(rig.volume->flush());
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(65536, 4096));
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->flush());
}

// The flush that has to tell of lost writes is the application's, not one of ours.
TEST_F(Breaker, RemovalDoesNotTakeTheWordOfLostWrites) {
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(65536, 4096));
  rig.primary->set_outage(Outage::none);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->remove(BlockIndex(5)));
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_TRUE(rig.volume->flush());
}

// Whatever else happened at the same time: writes that were acknowledged and never synced are missed.
TEST_F(Breaker, WritesAcknowledgedAsTheBreakerOpensAreMissedToo) {
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::write) return;
    rig.primary->set_before(nullptr);
    // The device vanishes for another request, whose answer comes before this write's.
    std::thread other([&] {
      rig.primary->set_outage(Outage::gone);
      EXPECT_FALSE(rig.read(1 << 20, 4096));
      rig.primary->set_outage(Outage::none);
    });
    other.join();
  });
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  ASSERT_EQ(rig.volume->status().state, VolumeState::suspended);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_FALSE(rig.volume->flush());
}

TEST(BreakerOfTwo, LostWritesOfASpareAreToldThoughThePrimaryIsStillAway) {
  VolumeRig rig;
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.unmount();
  rig.mount(options);
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.write(5 * 4096, pattern(5 * 4096, 4096, 1)));
  rig.spare().set_outage(Outage::gone);
  rig.primary->set_outage(Outage::gone);
  std::thread reader([&] { EXPECT_TRUE(rig.read(5 * 4096, 4096)); });
  std::thread other([&] { EXPECT_TRUE(rig.read(65536, 4096)); });
  while (rig.volume->status().reasons.size() < 2) std::this_thread::yield();
  rig.spare().set_outage(Outage::none);
  EXPECT_FALSE(rig.volume->resume()) << "the primary is still away";
  reader.join();
  EXPECT_FALSE(rig.volume->flush()) << "what the slot lost was never told";
  rig.primary->set_outage(Outage::none);
  EXPECT_TRUE(rig.volume->resume());
  other.join();
}

// What fails for want of one spare fails for those who need it.
TEST(BreakerOfTwo, SpareThatIsGoneIsNoneOfTheOthersBusiness) {
  VolumeRig rig({.spares = 2});
  rig.store->failures.push_back({Error{Errc::device_gone, ENODEV, {}}, {}, {}, SpareId{2}});
  EXPECT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  rig.store->failures.push_back({Error{Errc::device_gone, ENODEV, {}}, {}, {}, SpareId{1}});
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  EXPECT_TRUE(rig.volume->status().suspended);
  EXPECT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done) << "there is another one";
  EXPECT_EQ(rig.row(7)->where.spare, 2);
}

// Everything that was used lately is the place at fault: others have to be asked.
TEST_F(Breaker, HotBlockOnADeviceThatFailsEverywhereMapsNothing) {
  for (std::uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(rig.write(5 * 4096, pattern(0, 4096, i)));
  rig.primary->set_outage(Outage::failing);
  for (const std::uint64_t block : {5U, 900U, 901U}) {
    EXPECT_EQ(rig.write(block * 4096, pattern(0, 4096, 1)).error().code, Errc::suspended) << block;
  }
  expect_suspended_without_entries();
}

TEST_F(Breaker, HotSlotThatGoesBadDoesNotSuspendItsSpare) {
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_EQ(*rig.volume->add(BlockIndex(6)), Outcome::done);
  for (std::uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(rig.write(5 * 4096, pattern(0, 4096, i)));
  rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512, 8);
  EXPECT_EQ(rig.read(5 * 4096, 4096).error().code, Errc::lost);
  EXPECT_TRUE(rig.read(6 * 4096, 4096));
  EXPECT_NE(rig.volume->status().state, VolumeState::suspended);
}

TEST_F(Breaker, RequestsWaitForResumeWhenAsked) {
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.unmount();
  rig.mount(options);
  rig.primary->set_outage(Outage::gone);
  std::atomic<bool> answered{false};
  std::thread reader([&] {
    EXPECT_TRUE(rig.read(0, 4096));
    answered = true;
  });
  while (rig.volume->status().state != VolumeState::suspended) std::this_thread::yield();
  EXPECT_FALSE(answered);
  rig.primary->set_outage(Outage::none);
  EXPECT_TRUE(rig.volume->resume());
  reader.join();
  EXPECT_TRUE(answered);
}

TEST_F(Breaker, WaitingRequestsGiveUpWhenInterrupted) {
  VolumeOptions options;
  options.on_loss = OnLoss::wait;
  rig.unmount();
  rig.mount(options);
  rig.primary->set_outage(Outage::gone);
  std::thread writer([&] { EXPECT_EQ(rig.write(0, pattern(0, 4096, 1)).error().code, Errc::suspended); });
  while (rig.volume->status().state != VolumeState::suspended) std::this_thread::yield();
  rig.volume->interrupt_waits();
  writer.join();
}

std::uint64_t failed(const VolumeStatus& status, SpareId device, DeviceAccess access, FailureClass failure) {
  for (const DeviceFailures& one : status.failures) {
    if (one.id == device) return one.failures[static_cast<std::size_t>(access)][static_cast<std::size_t>(failure)];
  }
  return ~std::uint64_t{0};
}

TEST(Failures, AreCountedByDeviceAccessAndClass) {
  VolumeRig rig;
  rig.remount();
  ASSERT_EQ(rig.volume->status().failures.size(), 2U);
  EXPECT_EQ(failed(rig.volume->status(), 0, DeviceAccess::read, FailureClass::media), 0U);
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::read);
  EXPECT_FALSE(rig.read(80 * 512, 512));
  const std::uint64_t attempts = failed(rig.volume->status(), 0, DeviceAccess::read, FailureClass::media);
  EXPECT_GE(attempts, 2U) << "each attempt counts";
  EXPECT_LE(attempts, 20U);
  EXPECT_EQ(failed(rig.volume->status(), 0, DeviceAccess::write, FailureClass::media), 0U);
  EXPECT_EQ(failed(rig.volume->status(), 1, DeviceAccess::read, FailureClass::media), 0U);

  rig.spares[0]->fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_EQ(failed(rig.volume->status(), 1, DeviceAccess::sync, FailureClass::media), 1U);
  EXPECT_EQ(failed(rig.volume->status(), 0, DeviceAccess::sync, FailureClass::media), 0U);
}

TEST(Failures, OfTransfersThatOthersMakeAreCountedOnce) {
  VolumeRig rig;
  DirectAccess access;
  auto memory = *AlignedBuffer::allocate(4096);
  ASSERT_TRUE(rig.volume->begin(access, {ByteOffset(0), ByteOffset(4096)}, memory.data(), true));
  access.parts[0].error = Error{Errc::timeout, 110, {}};
  EXPECT_FALSE(rig.volume->end(access));
  EXPECT_EQ(failed(rig.volume->status(), 0, DeviceAccess::write, FailureClass::timeout), 1U);
  EXPECT_EQ(failed(rig.volume->status(), 0, DeviceAccess::read, FailureClass::timeout), 0U);
  EXPECT_TRUE(rig.volume->recover(access, memory.data()));
}

TEST(Failures, WhatTheDeviceCannotDoIsNone) {
  VolumeRig rig;
  std::ignore = rig.volume->punch({ByteOffset(0), ByteOffset(4096)});
  for (const DeviceFailures& device : rig.volume->status().failures) {
    for (const auto& row : device.failures) {
      for (const std::uint64_t count : row) EXPECT_EQ(count, 0U);
    }
  }
}

}  // namespace
}  // namespace remapfs::testing
