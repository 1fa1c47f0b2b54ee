// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "support/volume_rig.hpp"

// A spare at the end of the primary: one descriptor, which tells of a failure once, and vanishes for both.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kOneDiskBlock = 4096;

// Two members on one descriptor, without a volume.
class OneDescriptor : public ::testing::Test {
 protected:
  OneDescriptor() { open(); }
  // As a process that goes on for another one.
  void open() {
    spare.reset();
    primary = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk));
    spare = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk), primary.get());
    EXPECT_TRUE(primary->remember_in(memory[0]));
    EXPECT_TRUE(spare->remember_in(memory[1]));
  }
  // True when it succeeds; what it was about otherwise.
  static std::string flush(MemberDevice& member) {
    bool lost = false;
    const auto flushed = member.flush(lost);
    if (lost) member.told_loss();
    if (flushed) return "stored";
    return lost ? "lost" : "failed";
  }

  FakeDisk disk{ByteCount(1U << 20U)};
  std::array<DeviceMemory, 2> memory;
  std::unique_ptr<MemberDevice> primary;
  std::unique_ptr<MemberDevice> spare;
};

TEST_F(OneDescriptor, WhatASyncOfOneIsToldIsKnownOfBoth) {
  for (MemberDevice* const one : {primary.get(), spare.get()}) {
    disk.fail_syncs(1);
    EXPECT_FALSE(one->sync());
    EXPECT_EQ(primary->sync().error().code, Errc::failed);
    EXPECT_EQ(spare->sync().error().code, Errc::failed);
    EXPECT_TRUE(primary->trust_again());
    EXPECT_TRUE(spare->trust_again());
    EXPECT_TRUE(primary->sync());
    EXPECT_TRUE(spare->sync());
  }
}

TEST_F(OneDescriptor, AndByTheProcessThatGoesOn) {
  disk.fail_syncs(1);
  EXPECT_FALSE(primary->sync());
  open();
  EXPECT_EQ(spare->sync().error().code, Errc::failed) << "the kernel would not tell again";
  EXPECT_EQ(primary->sync().error().code, Errc::failed);
}

TEST_F(OneDescriptor, AlsoWhenTheOtherOneWasNotToldInTime) {
  memory[0].sync_failed = true;
  spare.reset();
  open();
  EXPECT_TRUE(spare->sync_failed());
}

TEST_F(OneDescriptor, WhatIsLostWithOneIsLostForBoth) {
  spare->note_write();
  ASSERT_TRUE(primary->reopen());
  EXPECT_EQ(flush(*primary), "stored");
  EXPECT_EQ(flush(*spare), "lost");
  EXPECT_EQ(flush(*spare), "stored");

  primary->note_write();
  spare->note_loss();
  open();
  EXPECT_EQ(flush(*spare), "stored");
  EXPECT_EQ(flush(*primary), "lost");
}

// Of a device that was away and came back with an empty cache, a sync succeeds and says nothing.
TEST_F(OneDescriptor, ASyncAfterSomethingFailedProvesNothingStored) {
  alignas(512) std::array<std::byte, 512> sector;
  spare->note_write();
  disk.set_outage(Outage::failing);
  EXPECT_FALSE(primary->read_exact(ByteOffset(0), sector));
  disk.set_outage(Outage::none);
  EXPECT_EQ(flush(*spare), "stored");
  spare->note_loss();
  EXPECT_EQ(flush(*spare), "lost");
}
TEST_F(OneDescriptor, NorDoesOneWhileTheDeviceIsNotTrusted) {
  spare->note_write();
  memory[0].breaker_open = true;
  EXPECT_TRUE(spare->sync());
  EXPECT_EQ(flush(*spare), "stored");
  spare->note_loss();
  EXPECT_EQ(flush(*spare), "lost");
}
TEST_F(OneDescriptor, OneWithoutFailuresSinceTheLastDoes) {
  alignas(512) std::array<std::byte, 512> sector;
  disk.set_outage(Outage::failing);
  EXPECT_FALSE(primary->read_exact(ByteOffset(0), sector));
  disk.set_outage(Outage::none);
  EXPECT_TRUE(spare->sync());
  spare->note_write();
  EXPECT_TRUE(spare->sync());
  spare->note_loss();
  EXPECT_EQ(flush(*spare), "stored");
}

// Whoever trusts it again has to know whether anybody was told.
TEST_F(OneDescriptor, AFailedSyncThatNoFlushToldOfIsToldAfterwards) {
  spare->note_write();
  disk.fail_syncs(1);
  EXPECT_FALSE(primary->sync());
  EXPECT_TRUE(primary->trust_again());
  EXPECT_TRUE(spare->trust_again());
  EXPECT_EQ(flush(*spare), "lost");
  EXPECT_EQ(flush(*spare), "stored");

  spare->note_write();
  disk.fail_syncs(1);
  EXPECT_EQ(flush(*spare), "failed");
  EXPECT_TRUE(primary->trust_again());
  EXPECT_TRUE(spare->trust_again());
  EXPECT_EQ(flush(*spare), "stored") << "it was told";
}
TEST_F(OneDescriptor, AlsoTheOneThatRepeatsThatOfAKilledProcess) {
  memory[1].syncing = true;
  spare.reset();
  primary = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk));
  spare = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk), primary.get());
  ASSERT_TRUE(primary->remember_in(memory[0]));
  disk.fail_syncs(1);
  EXPECT_FALSE(spare->remember_in(memory[1]));
  EXPECT_TRUE(primary->trust_again());
  EXPECT_TRUE(spare->trust_again());
  EXPECT_EQ(flush(*spare), "lost");
}

// The process that goes on knows nothing of the devices before its map is loaded, and may fail to load it.
TEST_F(OneDescriptor, WhatAProcessThatDoesNotComeToServeHeardIsKnownToTheNext) {
  memory[0].unsynced_writes = true;
  spare.reset();
  primary = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk));
  spare = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(disk), primary.get());
  disk.fail_syncs(1);
  EXPECT_FALSE(spare->sync());
  primary->leave_in(memory[0]);
  spare->leave_in(memory[1]);
  open();
  EXPECT_EQ(flush(*primary), "failed");
  open();
  EXPECT_TRUE(primary->trust_again());
  EXPECT_TRUE(spare->trust_again());
  EXPECT_EQ(flush(*primary), "lost") << "who was told before has ended";
}

TEST_F(OneDescriptor, OneMayGo) {
  primary.reset();
  disk.fail_syncs(1);
  EXPECT_FALSE(spare->sync());
  EXPECT_FALSE(memory[0].sync_failed);
  EXPECT_TRUE(spare->trust_again());
  EXPECT_TRUE(spare->sync());
}

class OneDisk : public ::testing::Test {
 protected:
  OneDisk() : rig({.one_disk = true}) {
    rig.unmount();
    VolumeOptions options;
    options.on_event = [this](const Event& event) { heard.push_back(event.kind); };
    rig.mount(options);
    // Block 10 lives in a slot.
    in_slot = pattern(10 * kOneDiskBlock, kOneDiskBlock, 1);
    const FaultId bad = rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
    EXPECT_TRUE(rig.write(10 * kOneDiskBlock, in_slot));
    rig.primary->remove_fault(bad);
    EXPECT_EQ(rig.row(10)->state, EntryState::remapped);
    EXPECT_TRUE(rig.volume->flush());
  }

  [[nodiscard]] std::ptrdiff_t told(const std::string& kind) const {
    return std::count(heard.begin(), heard.end(), kind);
  }
  // The primary is noticed to have vanished; nobody asks the spare.
  void lose_primary() {
    rig.primary->set_outage(Outage::gone);
    EXPECT_FALSE(rig.read(0, kOneDiskBlock));
    rig.primary->set_outage(Outage::none);
    EXPECT_EQ(rig.volume->status().state, VolumeState::suspended);
    EXPECT_EQ(rig.read(10 * kOneDiskBlock, kOneDiskBlock).error().code, Errc::suspended) << "the spare is gone with it";
  }

  std::vector<std::string> heard;  // kinds of events
  std::atomic<bool> never{false};
  VolumeRig rig;
  std::vector<std::byte> in_slot;
};

TEST_F(OneDisk, BlocksGoBehindTheDiskAndAreThereAfterPowerLoss) {
  rig.primary->crash_all_lost();
  rig.mount();
  EXPECT_EQ(*rig.read(10 * kOneDiskBlock, kOneDiskBlock), in_slot);
  const ByteRange slots{ByteOffset(4U << 20U), ByteOffset(rig.primary->geometry().size.value())};
  const auto end = rig.primary->peek(slots);
  EXPECT_NE(std::search(end.begin(), end.end(), in_slot.begin(), in_slot.end()), end.end());
}

// The primary does not work, the spare behind it was not asked: a flush syncs that one all the same.
TEST_F(OneDisk, AFlushWhileTheDiskIsNotTrustedDoesNotHideWhatTheSpareLost) {
  ASSERT_TRUE(rig.write(10 * kOneDiskBlock, pattern(10 * kOneDiskBlock, kOneDiskBlock, 2)));
  rig.primary->set_outage(Outage::failing);
  EXPECT_EQ(rig.read(0, kOneDiskBlock).error().code, Errc::suspended);
  rig.primary->crash_all_lost();
  rig.primary->set_outage(Outage::none);
  EXPECT_EQ(rig.volume->flush().error().code, Errc::suspended);
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_EQ(*rig.read(10 * kOneDiskBlock, kOneDiskBlock), in_slot);
  EXPECT_TRUE(rig.volume->flush());
}

TEST_F(OneDisk, ASyncThatFailsForOneFailsForBoth) {
  ASSERT_TRUE(rig.write(10 * kOneDiskBlock, pattern(10 * kOneDiskBlock, kOneDiskBlock, 2)));
  rig.primary->fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_EQ(told("sync-failed"), 1);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->flush());
}

TEST_F(OneDisk, WhatTheSpareHadNotStoredIsLostWithThePrimary) {
  ASSERT_TRUE(rig.write(10 * kOneDiskBlock, pattern(10 * kOneDiskBlock, kOneDiskBlock, 2)));
  lose_primary();
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_FALSE(rig.volume->flush()) << "a write that was acknowledged may be gone";
  EXPECT_EQ(told("writes-lost"), 1);
  EXPECT_TRUE(rig.volume->flush()) << "told once";
}

TEST_F(OneDisk, TheSpareHearsOfADescriptorThatWasOpenedAgain) {
  ASSERT_TRUE(rig.write(10 * kOneDiskBlock, pattern(10 * kOneDiskBlock, kOneDiskBlock, 2)));
  lose_primary();
  rig.stale = true;
  rig.primary->reset_counters();
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(rig.primary->counters().reopens, 1U);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_EQ(told("writes-lost"), 1);
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
}

TEST_F(OneDisk, WithoutUnstoredWritesNothingIsLost) {
  lose_primary();
  rig.stale = true;
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(told("writes-lost"), 0);
  EXPECT_EQ(told("sync-failed"), 0);
  EXPECT_EQ(*rig.read(10 * kOneDiskBlock, kOneDiskBlock), in_slot);
}

TEST_F(OneDisk, BothAreBackWhenBothWereNoticed) {
  ASSERT_TRUE(rig.write(10 * kOneDiskBlock, pattern(10 * kOneDiskBlock, kOneDiskBlock, 2)));
  rig.primary->set_outage(Outage::gone);
  EXPECT_FALSE(rig.read(0, kOneDiskBlock));
  EXPECT_FALSE(rig.read(10 * kOneDiskBlock, kOneDiskBlock));
  rig.primary->set_outage(Outage::none);
  rig.stale = true;
  rig.primary->reset_counters();
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(rig.primary->counters().reopens, 1U);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
}

// Nobody's time runs out because others are asked first whether they work.
TEST_F(OneDisk, RequestsWaitForAResumeHoweverLongTheDeviceTakes) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(50);
  options.on_loss = OnLoss::wait;
  rig.mount(options);
  rig.stale = true;
  std::thread first([&] { EXPECT_TRUE(rig.read(0, kOneDiskBlock)); });
  while (!rig.volume->status().suspended) std::this_thread::yield();
  std::atomic<bool> asked{false};
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::read) return;
    asked = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  });
  std::thread resuming([&] { EXPECT_TRUE(rig.volume->resume()); });
  while (!asked) std::this_thread::yield();
  EXPECT_TRUE(rig.read(0, kOneDiskBlock)) << "it came while the device was asked";
  resuming.join();
  first.join();
}

TEST_F(OneDisk, AfterTheReplacementTheSpareIsWhereItWas) {
  rig.primary->add_bad_sectors(160, 1, FaultRule::On::write);
  ASSERT_TRUE(rig.write(20 * kOneDiskBlock, pattern(20 * kOneDiskBlock, kOneDiskBlock, 3)));
  NewPrimary next = rig.ready_primary();
  next.device = std::make_unique<MemberDevice>(std::make_unique<BorrowedDescriptor>(*rig.next, never));
  const auto all_at_once = [](const CopyProgress& /*so_far*/) -> std::uint64_t { return 1U << 20U; };
  const auto replaced = rig.volume->replace_primary(std::move(next), all_at_once);
  ASSERT_TRUE(replaced) << describe(replaced.error());
  EXPECT_EQ(*rig.read(20 * kOneDiskBlock, kOneDiskBlock), pattern(20 * kOneDiskBlock, kOneDiskBlock, 3));
  EXPECT_EQ(*rig.read(10 * kOneDiskBlock, kOneDiskBlock), in_slot);
  // A block of the new one goes to the spare, on the old one.
  rig.next->add_bad_sectors(240, 1, FaultRule::On::write);
  ASSERT_TRUE(rig.write(30 * kOneDiskBlock, pattern(30 * kOneDiskBlock, kOneDiskBlock, 4)));
  EXPECT_EQ(rig.row(30)->state, EntryState::remapped);
  EXPECT_EQ(*rig.read(30 * kOneDiskBlock, kOneDiskBlock), pattern(30 * kOneDiskBlock, kOneDiskBlock, 4));
}

}  // namespace
}  // namespace remapfs::testing
