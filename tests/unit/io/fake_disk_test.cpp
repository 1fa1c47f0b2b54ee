// SPDX-License-Identifier: Apache-2.0
#include "support/fake_disk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "remapfs/aligned_buffer.hpp"
#include "support/random.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kSize = 1U << 20U;

class FakeDiskTest : public ::testing::Test {
 protected:
  Result<void> write(std::uint64_t sector, std::uint64_t count, int value) {
    buffer_ = *AlignedBuffer::allocate(count * 512);
    std::fill_n(buffer_.data(), buffer_.size(), static_cast<std::byte>(value));
    return disk_.write_all(ByteOffset(sector * 512), buffer_.span());
  }
  Result<void> read(std::uint64_t sector, std::uint64_t count) {
    buffer_ = *AlignedBuffer::allocate(count * 512);
    return disk_.read_exact(ByteOffset(sector * 512), buffer_.span());
  }
  // The first byte of a sector.
  [[nodiscard]] int seen(std::uint64_t sector) const {
    return std::to_integer<int>(disk_.peek({ByteOffset(sector * 512), ByteOffset(sector * 512 + 1)})[0]);
  }
  [[nodiscard]] int durable(std::uint64_t sector) const {
    return std::to_integer<int>(disk_.peek_durable({ByteOffset(sector * 512), ByteOffset(sector * 512 + 1)})[0]);
  }

  FakeDisk disk_{ByteCount(kSize)};
  AlignedBuffer buffer_;
};
using FakeDiskDeathTest = FakeDiskTest;

TEST_F(FakeDiskTest, AFailedReadScribblesAndNamesItsRule) {
  ASSERT_TRUE(write(0, 8, 0x11));
  FaultRule rule;
  rule.range = {ByteOffset(3 * 512), ByteOffset(4 * 512)};
  rule.on = FaultRule::On::read;
  rule.error = {Errc::media, ENODATA, {}};
  const FaultId id = disk_.add_fault(rule);
  const auto result = read(0, 8);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().os_errno, ENODATA);
  for (const std::byte b : buffer_.span()) ASSERT_NE(b, std::byte{0x11});
  EXPECT_EQ(disk_.fault_hits(id), 1U);
  EXPECT_TRUE(read(0, 3));
  EXPECT_TRUE(read(4, 4));
  EXPECT_TRUE(write(3, 1, 0x22));
  EXPECT_FALSE(read(3, 1)) << "a sticky rule is not cured by writing";
  disk_.remove_fault(id);
  EXPECT_TRUE(read(0, 8));
  EXPECT_EQ(disk_.fault_hits(id), 2U);
}

TEST_F(FakeDiskTest, AFailedWriteWritesWhatLiesBeforeTheBadSectorOnly) {
  disk_.add_bad_sectors(2, 1, FaultRule::On::write);
  ASSERT_FALSE(write(0, 4, 0x33));
  EXPECT_EQ(seen(1), 0x33);
  EXPECT_EQ(seen(2), 0);
  EXPECT_EQ(seen(3), 0);
  EXPECT_TRUE(read(0, 4)) << "the rule is about writes";
}

TEST_F(FakeDiskTest, ARuleForTwoTimesFailsTwoRequestsThenWorks) {
  FaultRule rule;
  rule.range = {ByteOffset(0), ByteOffset(8 * 512)};
  rule.lasts = FaultRule::Lasts::times;
  rule.times = 2;
  const FaultId id = disk_.add_fault(rule);
  EXPECT_FALSE(read(0, 8));
  EXPECT_FALSE(read(5, 1));
  EXPECT_TRUE(read(0, 8));
  EXPECT_EQ(disk_.fault_hits(id), 2U);
}

TEST_F(FakeDiskTest, UntilWrittenIsCuredSectorBySector) {
  FaultRule rule;
  rule.range = {ByteOffset(8 * 512), ByteOffset(16 * 512)};
  rule.on = FaultRule::On::read;
  rule.lasts = FaultRule::Lasts::until_written;
  disk_.add_fault(rule);
  ASSERT_FALSE(read(8, 1));
  ASSERT_TRUE(write(9, 2, 0x44));
  EXPECT_TRUE(read(9, 2));
  EXPECT_FALSE(read(8, 2));
  EXPECT_FALSE(read(10, 2));
  ASSERT_TRUE(disk_.zero_range({ByteOffset(0), ByteOffset(32 * 512)}));
  EXPECT_TRUE(read(0, 32));
}

TEST_F(FakeDiskTest, AWriteThatFailsUntilWrittenIsTheLastOneAndLeavesJunk) {
  for (const auto on : {FaultRule::On::write, FaultRule::On::both}) {
    ASSERT_TRUE(write(8, 8, 0x11));
    FaultRule rule;
    rule.range = {ByteOffset(8 * 512), ByteOffset(16 * 512)};
    rule.on = on;
    rule.lasts = FaultRule::Lasts::until_written;
    const FaultId id = disk_.add_fault(rule);
    EXPECT_EQ(read(8, 1).has_value(), on == FaultRule::On::write);
    ASSERT_FALSE(write(8, 1, 0x44));
    EXPECT_TRUE(read(8, 1));
    EXPECT_NE(seen(8), 0x44);
    EXPECT_NE(seen(8), 0x11);
    EXPECT_TRUE(write(8, 1, 0x44));
    EXPECT_FALSE(write(8, 2, 0x44)) << "the next sector has not been written yet";
    disk_.remove_fault(id);
  }
}

TEST_F(FakeDiskTest, OutagesFailWhatTheySay) {
  disk_.set_outage(Outage::gone);
  EXPECT_EQ(read(0, 1).error().code, Errc::device_gone);
  EXPECT_EQ(write(0, 1, 1).error().code, Errc::device_gone);
  EXPECT_EQ(disk_.sync().error().code, Errc::device_gone);
  EXPECT_EQ(disk_.reopen().error().code, Errc::device_gone);
  disk_.set_outage(Outage::failing);
  EXPECT_EQ(read(0, 1).error().code, Errc::media);
  EXPECT_TRUE(disk_.reopen());
  disk_.set_outage(Outage::read_only);
  EXPECT_TRUE(read(0, 1));
  EXPECT_EQ(write(0, 1, 1).error().code, Errc::media);
  EXPECT_EQ(disk_.zero_range({ByteOffset(0), ByteOffset(512)}).error().code, Errc::media);
  EXPECT_FALSE(disk_.sync());
  disk_.set_outage(Outage::none);
  EXPECT_TRUE(write(0, 1, 1));
  disk_.set_replaced(true);
  EXPECT_EQ(disk_.reopen().error().code, Errc::foreign);
}

TEST_F(FakeDiskTest, OnlySyncedWritesSurviveACrashThatLosesTheRest) {
  ASSERT_TRUE(write(0, 2, 1));
  ASSERT_TRUE(disk_.sync());
  ASSERT_TRUE(write(1, 2, 2));
  EXPECT_EQ(durable(1), 1);
  EXPECT_EQ(durable(2), 0);
  EXPECT_EQ(disk_.unsynced_sectors(), 2U);
  disk_.crash_all_lost();
  EXPECT_EQ(seen(0), 1);
  EXPECT_EQ(seen(1), 1);
  EXPECT_EQ(seen(2), 0);
}

TEST_F(FakeDiskTest, UnsyncedZeroesAndPunchesCanBeLostToo) {
  DeviceGeometry geometry;
  geometry.punches_cheaply = true;
  FakeDisk disk(ByteCount(kSize), geometry);
  const ByteRange all{ByteOffset(0), ByteOffset(kSize)};
  const AlignedBuffer data = [] {
    AlignedBuffer buffer = *AlignedBuffer::allocate(kSize);
    Random(1).fill(buffer.span());
    return buffer;
  }();
  const std::vector<std::byte> written(data.span().begin(), data.span().end());
  const std::vector<std::byte> zeros(kSize);
  ASSERT_TRUE(disk.write_all(ByteOffset(0), data.span()));
  ASSERT_TRUE(disk.sync());
  for (const bool punch : {false, true}) {
    ASSERT_TRUE(punch ? disk.punch_hole(all) : disk.zero_range(all));
    EXPECT_TRUE(disk.peek(all) == zeros);
    EXPECT_TRUE(disk.peek_durable(all) == written) << punch;
    disk.crash_all_lost();
    EXPECT_TRUE(disk.peek(all) == written) << punch;
  }
  ASSERT_TRUE(disk.punch_hole(all));
  ASSERT_TRUE(disk.sync());
  disk.crash_all_lost();
  EXPECT_TRUE(disk.peek(all) == zeros);
  EXPECT_EQ(disk.seek_data(ByteOffset(0)).error().code, Errc::not_found);
}

TEST_F(FakeDiskTest, ACrashLeavesEachUnsyncedSectorAtAnyOfItsContents) {
  std::set<int> outcomes;
  bool torn = false;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    ASSERT_TRUE(write(0, 8, 1));
    ASSERT_TRUE(disk_.sync());
    ASSERT_TRUE(write(0, 8, 2));
    ASSERT_TRUE(write(0, 8, 3));
    disk_.crash(seed);
    for (std::uint64_t sector = 0; sector < 8; ++sector) {
      outcomes.insert(seen(sector));
      torn |= seen(sector) != seen(0);
    }
  }
  EXPECT_EQ(outcomes, (std::set<int>{1, 2, 3}));
  EXPECT_TRUE(torn);
}

TEST_F(FakeDiskTest, TheSameSeedGivesTheSameCrash) {
  std::vector<std::byte> first;
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(disk_.zero_range({ByteOffset(0), ByteOffset(kSize)}));
    ASSERT_TRUE(disk_.sync());
    for (std::uint64_t i = 0; i < 500; ++i) ASSERT_TRUE(write(i * 37 % 2048, 1, static_cast<int>(i % 255) + 1));
    disk_.crash(42);
    auto contents = disk_.peek({ByteOffset(0), ByteOffset(kSize)});
    if (round == 0) {
      first = std::move(contents);
    } else {
      EXPECT_TRUE(first == contents);
    }
  }
}

TEST_F(FakeDiskTest, WritesOfAFailedSyncStayInDoubtUntilWrittenAgain) {
  ASSERT_TRUE(write(0, 2, 1));
  disk_.fail_syncs(1);
  ASSERT_FALSE(disk_.sync());
  ASSERT_TRUE(write(1, 1, 2));
  ASSERT_TRUE(write(2, 1, 3));
  ASSERT_TRUE(disk_.sync());
  EXPECT_EQ(durable(0), 0) << "a later sync must not vouch for what the failed one covered";
  EXPECT_EQ(seen(0), 1);
  EXPECT_EQ(durable(1), 2);
  EXPECT_EQ(durable(2), 3);
  disk_.fail_syncs(FakeDisk::kAlways);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(disk_.sync());
  disk_.fail_syncs(0);
  EXPECT_TRUE(disk_.sync());
}

TEST_F(FakeDiskTest, EveryOperationCanBeFailedInTurn) {
  std::uint64_t n = 1;
  for (;; ++n) {
    disk_.fail_nth(n);
    const bool all = write(0, 1, 1) && disk_.sync() && read(0, 1) && disk_.zero_range({ByteOffset(0), ByteOffset(512)});
    EXPECT_EQ(all, !disk_.nth_failed());
    if (!disk_.nth_failed()) break;
    ASSERT_LT(n, 10U);
  }
  EXPECT_EQ(n, 5U);
}

TEST_F(FakeDiskTest, AfterAPowerCutNothingWorksUntilTheCrash) {
  ASSERT_TRUE(write(0, 1, 1));
  ASSERT_TRUE(disk_.sync());
  disk_.cut_power_after(2);
  ASSERT_TRUE(write(0, 1, 2));
  EXPECT_EQ(disk_.sync().error().code, Errc::device_gone);
  EXPECT_TRUE(disk_.power_is_off());
  EXPECT_EQ(read(0, 1).error().code, Errc::device_gone);
  EXPECT_FALSE(write(0, 1, 3));
  disk_.crash_all_lost();
  EXPECT_FALSE(disk_.power_is_off());
  EXPECT_EQ(seen(0), 1);
  EXPECT_TRUE(write(0, 1, 4));
  EXPECT_TRUE(disk_.sync());
}

TEST_F(FakeDiskTest, HooksRunAroundTheEffectAndMayUseTheDisk) {
  std::vector<int> contents;
  disk_.set_before([&](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::write) contents.push_back(seen(0));
  });
  disk_.set_after([&](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::write) contents.push_back(seen(0));
  });
  ASSERT_TRUE(write(0, 1, 5));
  EXPECT_EQ(contents, (std::vector<int>{0, 5}));
  disk_.set_before({});
  disk_.set_after({});
  ASSERT_TRUE(write(0, 1, 6));
  EXPECT_EQ(contents.size(), 2U);
}

TEST_F(FakeDiskTest, PokeIsSeenAndDurableAndPeekIgnoresFaults) {
  ASSERT_TRUE(write(0, 1, 1));
  disk_.add_bad_sectors(0, 1);
  const std::byte patch[3] = {std::byte{9}, std::byte{8}, std::byte{7}};
  disk_.poke(ByteOffset(0), patch);
  disk_.crash_all_lost();
  EXPECT_EQ(seen(0), 9);
  EXPECT_EQ(disk_.counters().reads, 0U);
}

TEST_F(FakeDiskTest, CountersCountWhatWasAskedAndWhatWorked) {
  ASSERT_TRUE(write(0, 4, 1));
  ASSERT_TRUE(read(0, 2));
  disk_.add_bad_sectors(9, 1);
  ASSERT_FALSE(read(9, 1));
  ASSERT_TRUE(disk_.sync());
  ASSERT_TRUE(disk_.zero_range({ByteOffset(0), ByteOffset(512)}));
  const FakeDiskCounters counters = disk_.counters();
  EXPECT_EQ(counters.reads, 2U);
  EXPECT_EQ(counters.writes, 1U);
  EXPECT_EQ(counters.zeroes, 1U);
  EXPECT_EQ(counters.syncs, 1U);
  EXPECT_EQ(counters.bytes_read, 1024U);
  EXPECT_EQ(counters.bytes_written, 2048U + 512U);
  EXPECT_EQ(counters.failures, 1U);
  EXPECT_EQ(disk_.operations(), 5U);
}

TEST_F(FakeDiskTest, ConcurrentUseOfEverythingIsSafe) {
  std::atomic<bool> stop{false};
  std::thread faults([&] {
    while (!stop) {
      const FaultId id = disk_.add_bad_sectors(100, 8);
      disk_.set_before([](const FakeOperation&) {});
      disk_.fail_syncs(1);
      disk_.remove_fault(id);
      disk_.set_before({});
    }
  });
  std::vector<std::thread> users;
  for (std::uint64_t me = 0; me < 4; ++me) {
    users.emplace_back([&, me] {
      AlignedBuffer buffer = *AlignedBuffer::allocate(4096);
      for (int i = 0; i < 500; ++i) {
        const ByteOffset at((static_cast<std::uint64_t>(i) * 4 + me) % 200 * 4096);
        (void)disk_.write_all(at, buffer.span());
        (void)disk_.read_exact(at, buffer.span());
        if (i % 50 == 0) (void)disk_.sync();
      }
    });
  }
  for (std::thread& user : users) user.join();
  stop = true;
  faults.join();
  EXPECT_EQ(disk_.counters().reads, 2000U);
}

TEST_F(FakeDiskDeathTest, CallersThatBreakTheContractEndTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto large = FakeDisk::with_logical_block(ByteCount(kSize + 512), 4096);
  AlignedBuffer buffer = *AlignedBuffer::allocate(16384);
  EXPECT_DEATH((void)large->read_exact(ByteOffset(512), buffer.first(4096)), "logical_block");
  EXPECT_DEATH((void)large->read_exact(ByteOffset(0), buffer.first(512)), "logical_block");
  EXPECT_DEATH((void)large->read_exact(ByteOffset(0), buffer.subspan(512, 4096)), "memory_alignment");
  EXPECT_DEATH((void)large->write_all(ByteOffset(0), buffer.subspan(512, 4096)), "memory_alignment");
  EXPECT_DEATH((void)large->write_all(ByteOffset(kSize), buffer.first(4096)), "size");
  EXPECT_DEATH((void)large->zero_range({ByteOffset(512), ByteOffset(4096)}), "logical_block");
  EXPECT_TRUE(large->read_exact(ByteOffset(kSize), buffer.first(512))) << "it may end at the end of the disk";
}

}  // namespace
}  // namespace remapfs::testing
