// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "support/forwarding_store.hpp"
#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

TEST(VolumeFlush, SyncsPrimaryAndEverySpare) {
  VolumeRig rig({.spares = 3});
  rig.primary->reset_counters();
  for (const auto& spare : rig.spares) spare->reset_counters();
  ASSERT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.primary->counters().syncs, 1U);
  for (const auto& spare : rig.spares) EXPECT_EQ(spare->counters().syncs, 1U);
}

TEST(VolumeFlush, FlushedDataSurvivePowerLossInSlotsAndInPlace) {
  VolumeRig rig;
  rig.primary->add_bad_sectors(80, 8, FaultRule::On::write);
  const auto data = pattern(0, 65536, 7);
  ASSERT_TRUE(rig.write(0, data));
  // In its slot now: a rewrite is an ordinary write there.
  const auto newer = pattern(80 * 512, 4096, 8);
  ASSERT_TRUE(rig.write(80 * 512, newer));
  ASSERT_TRUE(rig.volume->flush());
  rig.volume.reset();
  rig.primary->crash_all_lost();
  rig.spare().crash_all_lost();
  rig.mount();
  EXPECT_EQ(*rig.read(80 * 512, 4096), newer);
  EXPECT_TRUE(std::equal(data.begin(), data.begin() + 80 * 512, rig.read(0, 80 * 512)->begin()));
}

TEST(VolumeFlush, AnAcknowledgedRelocationSurvivesPowerLossWithoutAFlush) {
  VolumeRig rig;
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  const auto data = pattern(80 * 512, 4096, 3);
  ASSERT_TRUE(rig.write(80 * 512, data));
  rig.spare().crash_all_lost();
  rig.mount();
  EXPECT_EQ(*rig.read(80 * 512, 4096), data);
}

TEST(VolumeFlush, FailedSyncIsStickyUntilResume) {
  VolumeRig rig;
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  rig.primary->fail_syncs(1);
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed) << "the kernel tells once, we tell until somebody acts";
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
  EXPECT_EQ(rig.map.events.back().kind, "sync-failed");
  EXPECT_TRUE(rig.volume->resume());
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
}

TEST(VolumeFlush, FailedSyncOfASpareFailsTheFlushThoughThePrimaryIsWell) {
  VolumeRig rig({.spares = 2});
  rig.spares[1]->fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_FALSE(rig.volume->flush());
}

TEST(VolumeFlush, NothingIsRelocatedFromADeviceWhoseSyncFailed) {
  VolumeRig rig;
  rig.primary->fail_syncs(1);
  EXPECT_FALSE(rig.volume->flush());
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  EXPECT_EQ(rig.write(80 * 512, pattern(0, 4096, 1)).error().code, Errc::failed);
  EXPECT_TRUE(rig.map.rows.empty());
}

TEST(VolumeFlush, SyncThatFailsInsideACommitIsStickyAndAcknowledgesNothing) {
  VolumeRig rig;
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::write);
  rig.spare().fail_syncs(1);
  EXPECT_EQ(rig.write(80 * 512, pattern(0, 4096, 1)).error().code, Errc::failed);
  EXPECT_TRUE(rig.map.rows.empty());
  EXPECT_EQ(rig.volume->status().state, VolumeState::failed);
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_EQ(rig.volume->status().slots_free, 256U) << "the slot is given back";
}

// The kernel tells only one of several syncs: whoever comes second must not be told that all is well.
TEST(VolumeFlush, OfTwoFlushesAtOnceBothHearOfTheFailure) {
  VolumeRig rig;
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 1)));
  std::atomic<int> syncs{0};
  rig.primary->set_before([&](const FakeOperation& operation) {
    if (operation.kind == FakeOperation::Kind::sync && syncs++ == 0) ::usleep(100'000);
  });
  rig.primary->fail_syncs(1);
  Result<void> first;
  std::thread other([&] { first = rig.volume->flush(); });
  while (syncs == 0) std::this_thread::yield();
  EXPECT_FALSE(rig.volume->flush());
  other.join();
  EXPECT_FALSE(first);
}

// After the rows are durable the spare is synced once more; when that fails, the outcome is unknown and the failure
// stays all the same.
TEST(VolumeFlush, SyncThatFailsAtTheEndOfACommitIsSticky) {
  VolumeRig rig;
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.write(5 * 4096, pattern(5 * 4096, 4096, 1)));
  rig.spare().fail_syncs(1);
  rig.store->failures.push_back({Error{Errc::commit_unknown, EIO, {}}, {}, SpareId{1}});
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  EXPECT_FALSE(rig.volume->flush());
  EXPECT_FALSE(rig.volume->flush());
}

// Whoever wrote before was told nothing: the device may have dropped his data with that sync.
TEST(VolumeFlush, LossThatOnlyACommitHeardOfIsToldAfterResume) {
  VolumeRig rig;
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.volume->flush());
  ASSERT_TRUE(rig.write(5 * 4096, pattern(5 * 4096, 4096, 1)));
  rig.spare().fail_syncs(1);
  EXPECT_FALSE(rig.volume->add(BlockIndex(6)));
  ASSERT_TRUE(rig.volume->resume());
  EXPECT_EQ(rig.volume->flush().error().code, Errc::failed);
  EXPECT_TRUE(rig.volume->flush());
}

// A store that syncs its spare while it loads, as the real one does after an end that was not in order.
class SyncingStore final : public ForwardingStore {
 public:
  SyncingStore(MemoryMap& map, BlockDevice& spare)
      : ForwardingStore(std::make_unique<MemoryMapStore>(map, MemoryMapStore::Spares{{SpareId{1}, &spare}})),
        spare_(spare) {}
  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    if (auto synced = spare_.sync(); !synced) return synced;
    return ForwardingStore::load(visit);
  }

 private:
  BlockDevice& spare_;
};
class SyncingBackend final : public MapBackend {
 public:
  void create(const RigOptions& /*options*/, MemoryMap& /*map*/, FakeDisk& /*spare*/) override {}
  Result<std::unique_ptr<MapStore>> open(MemoryMap& map, BlockDevice& spare) override {
    return std::make_unique<SyncingStore>(map, spare);
  }
  void abandon() override {}
};

// The device does not tell it again to the process that is started next.
TEST(VolumeFlush, SyncThatFailedWhileAnotherProcessFailedToStartIsSticky) {
  VolumeRig rig({}, std::make_unique<SyncingBackend>());
  VolumeMemory memory;
  VolumeOptions options;
  options.memory = &memory;
  rig.mount(options);
  ASSERT_EQ(*rig.volume->add(BlockIndex(5)), Outcome::done);
  ASSERT_TRUE(rig.volume->flush());
  ASSERT_TRUE(rig.write(5 * 4096, pattern(5 * 4096, 4096, 1)));
  VolumeMemory killed;
  killed.devices[1].unsynced_writes = memory.devices[1].unsynced_writes.load();
  ASSERT_TRUE(killed.devices[1].unsynced_writes);
  options.memory = &killed;
  rig.volume.reset();
  rig.spare().fail_syncs(1);
  ASSERT_FALSE(rig.try_mount(options));
  ASSERT_TRUE(rig.try_mount(options));
  const auto flushed = rig.volume->flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, Errc::failed);
}

// A second flush that comes while a first one tells of a loss has not told it to whoever asked for the first: should
// the process be killed, the next one is to know.
TEST(DeviceFlush, LossIsRememberedUntilWhoeverTellsItIsDone) {
  FakeDisk disk(ByteCount(1U << 20U));
  DeviceMemory memory;
  MemberDevice device(std::make_unique<BorrowedDevice>(disk));
  ASSERT_TRUE(device.remember_in(memory));
  device.note_write();
  device.note_loss();
  bool lost = false;
  EXPECT_FALSE(device.flush(lost));
  EXPECT_TRUE(lost);
  EXPECT_TRUE(device.flush(lost));
  EXPECT_FALSE(lost);
  EXPECT_TRUE(memory.telling_loss);
  device.told_loss();
  EXPECT_TRUE(device.flush(lost));
  EXPECT_FALSE(memory.telling_loss);
}

}  // namespace
}  // namespace remapfs::testing
