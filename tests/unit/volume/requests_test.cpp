// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kDisk = (1U << 20U) + 1536;  // ends inside a block

class Requests : public ::testing::Test {
 protected:
  Requests() { rig.primary->poke(ByteOffset(0), pattern(0, kDisk, 0)); }
  VolumeRig rig{RigOptions{.disk_bytes = kDisk}};
};

TEST_F(Requests, ReadIsShortOnlyAtTheEndOfTheDisk) {
  EXPECT_EQ(rig.read(kDisk - 100, 4096)->size(), 100U);
  EXPECT_EQ(*rig.read(kDisk - 100, 4096), pattern(kDisk - 100, 100, 0));
  EXPECT_EQ(rig.read(kDisk, 4096)->size(), 0U);
  EXPECT_EQ(rig.read(kDisk + 1000000, 4096)->size(), 0U);
  EXPECT_EQ(rig.read(~std::uint64_t{0} - 5, 4096)->size(), 0U);
  EXPECT_EQ(rig.read(0, 0)->size(), 0U);
}

TEST_F(Requests, WritePastTheEndStoresNothing) {
  EXPECT_EQ(rig.write(kDisk - 512, pattern(0, 1024, 1)).error().code, Errc::past_end);
  EXPECT_EQ(rig.write(kDisk, pattern(0, 1, 1)).error().code, Errc::past_end);
  EXPECT_EQ(rig.write(~std::uint64_t{0} - 5, pattern(0, 100, 1)).error().code, Errc::past_end);
  EXPECT_EQ(rig.primary->peek({ByteOffset(0), ByteOffset(kDisk)}), pattern(0, kDisk, 0));
  EXPECT_EQ(rig.volume->status().write_errors, 3U);
}

TEST_F(Requests, LargerThanAnySingleTransferAreServed) {
  const auto data = pattern(0, kDisk, 4);
  ASSERT_TRUE(rig.write(0, data));
  EXPECT_EQ(*rig.read(0, kDisk + 5000), data);
}

TEST_F(Requests, EveryOffsetAndLengthAroundABlockIsRight) {
  auto expected = pattern(0, kDisk, 0);
  std::uint64_t version = 1;
  for (const std::uint64_t offset : {4095, 4096, 4097, 4607, 4608, 8191, 8192}) {
    for (const std::uint64_t length : {1, 2, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 12289}) {
      const auto data = pattern(offset, length, ++version);
      ASSERT_TRUE(rig.write(offset, data));
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
      ASSERT_EQ(*rig.read(0, 65536), std::vector<std::byte>(expected.begin(), expected.begin() + 65536))
          << offset << '+' << length;
    }
  }
}

TEST_F(Requests, ReadOnlyVolumeWritesNothingAnywhere) {
  rig.primary->add_bad_sectors(80, 1, FaultRule::On::read);
  rig.unmount();
  VolumeOptions options;
  options.read_only = true;
  rig.mount(options);
  rig.primary->reset_counters();
  rig.spare().reset_counters();
  EXPECT_EQ(rig.write(0, pattern(0, 512, 1)).error().code, Errc::read_only);
  EXPECT_EQ(rig.volume->zero({ByteOffset(0), ByteOffset(512)}).error().code, Errc::read_only);
  EXPECT_EQ(rig.volume->add(BlockIndex(0)).error().code, Errc::read_only);
  EXPECT_EQ(rig.read(80 * 512, 512).error().code, Errc::lost);
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.primary->counters().writes + rig.primary->counters().zeroes + rig.spare().counters().writes, 0U);
  EXPECT_EQ(rig.store->commits(), 0U);
}

TEST_F(Requests, PrimaryOfAnotherSizeIsRefused) {
  rig.unmount();
  rig.map.info.size = ByteCount(kDisk - 512);
  EXPECT_EQ(rig.try_mount({}).error().code, Errc::invalid);
}

TEST_F(Requests, RetriesEndWithTheBudgetAndRecordNothingUnreached) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(60);
  rig.mount(options);
  rig.primary->add_bad_sectors(0, 64, FaultRule::On::read);
  rig.primary->set_before([](const FakeOperation& op) {
    // A dying disk takes its time for what it cannot read.
    if (op.kind == FakeOperation::Kind::read && op.range.begin.value() < 64 * 512) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  EXPECT_FALSE(rig.read(0, 64 * 512));
  const auto lost = rig.volume->status().lost_sectors;
  EXPECT_GT(lost, 0U) << "what was tried to the end is recorded";
  EXPECT_LT(lost, 64U) << "what was not reached is not";
}

TEST_F(Requests, WhoeverWaitsForANeighbourThatIsRetriedIsServed) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(50);
  rig.mount(options);
  rig.primary->add_bad_sectors(0, 1, FaultRule::On::read);
  std::atomic<unsigned> failing{0};
  rig.primary->set_before([&](const FakeOperation& op) {
    if (op.kind != FakeOperation::Kind::read || op.range.begin.value() != 0) return;
    ++failing;
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  });
  std::thread reader([&] { EXPECT_FALSE(rig.read(0, 16384)); });
  // The first access holds nobody up.
  while (failing < 2) std::this_thread::yield();
  const auto data = pattern(12288, 4096, 7);
  const auto written = rig.write(12288, data);
  EXPECT_TRUE(written) << describe(written.error());
  reader.join();
  EXPECT_EQ(*rig.read(12288, 4096), data);
}

TEST_F(Requests, WriteMovesItsBlockHoweverLongTheDeviceTakesToFail) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(20);
  rig.mount(options);
  rig.primary->add_bad_sectors(0, 1, FaultRule::On::write);
  rig.primary->set_before([](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::write && op.range.begin.value() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
  });
  const auto data = pattern(0, 4096, 7);
  const auto written = rig.write(0, data);
  ASSERT_TRUE(written) << describe(written.error());
  EXPECT_EQ(*rig.read(0, 4096), data);
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
}

// A disk on which each write that fails takes longer than the time of a request, and the hold of a batch, for trying.
class SlowToFail : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kLength = 65536 + 512;  // the last block is not written as a whole

  void set_up(std::uint64_t slots) {
    rig = std::make_unique<VolumeRig>(RigOptions{.slots = slots});
    rig->primary->poke(ByteOffset(0), pattern(0, 1U << 20U, 0));
    rig->unmount();
    VolumeOptions options;
    options.request_budget = std::chrono::milliseconds(20);
    rig->mount(options);
    rig->primary->set_before([this](const FakeOperation& op) {
      if (op.kind != FakeOperation::Kind::write || op.range.begin.value() >= kLength) return;
      writes.push_back(op.range);
      const bool fails = std::any_of(bad.begin(), bad.end(), [&](std::uint64_t block) {
        return op.range.begin <= ByteOffset(block * 4096) && op.range.end > ByteOffset(block * 4096);
      });
      if (fails) std::this_thread::sleep_for(std::chrono::milliseconds(250));
    });
  }
  void fail_writes_of(std::uint64_t block) {
    bad.push_back(block);
    rig->primary->add_bad_sectors(block * 8, 1, FaultRule::On::write);
  }
  void write_all_of_it() {
    const auto data = pattern(0, kLength, 7);
    const auto written = rig->write(0, data);
    ASSERT_TRUE(written) << describe(written.error());
    EXPECT_EQ(*rig->read(0, kLength), data);
    rig->remount();
    EXPECT_EQ(*rig->read(0, kLength), data);
    EXPECT_EQ(*rig->read(kLength, 3584), pattern(kLength, 3584, 0));
  }

  std::vector<std::uint64_t> bad;  // blocks
  std::vector<ByteRange> writes;
  std::unique_ptr<VolumeRig> rig;
};

TEST_F(SlowToFail, WhatIsLeftOfAWriteIsWrittenAtOnce) {
  set_up(256);
  fail_writes_of(0);
  write_all_of_it();
  EXPECT_EQ(rig->volume->status().remapped_blocks, 1U);
  ASSERT_EQ(writes.size(), 3U);
  EXPECT_EQ(writes[2], (ByteRange{ByteOffset(4096), ByteOffset(kLength)}));
}

TEST_F(SlowToFail, WhatThenFailsAgainGoesToSlotsUntried) {
  set_up(256);
  fail_writes_of(0);
  fail_writes_of(5);
  write_all_of_it();
  EXPECT_EQ(rig->volume->status().remapped_blocks, 16U) << "all but the last";
  EXPECT_EQ(writes.size(), 4U);
}

TEST_F(SlowToFail, WhereThereAreNoSlotsItIsTriedAfterAll) {
  set_up(2);
  fail_writes_of(0);
  fail_writes_of(1);
  write_all_of_it();
  EXPECT_EQ(rig->volume->status().remapped_blocks, 2U);
}

// Or a slot that failed would be free again.
TEST_F(SlowToFail, BlocksThatHaveASlotAreTriedInIt) {
  set_up(256);
  for (std::uint64_t block = 0; block < 16; ++block) ASSERT_TRUE(rig->volume->add(BlockIndex(block)));
  const auto sector_of = [&](std::uint64_t block) {
    return (VolumeRig::kFirstSlot + rig->row(block)->where.slot.value() * 4096) / 512;
  };
  const std::uint64_t first = sector_of(0);
  const std::uint64_t sixth = sector_of(5);
  for (const std::uint64_t sector : {first, sixth}) rig->spare().add_bad_sectors(sector, 1, FaultRule::On::write);
  rig->spare().set_before([=](const FakeOperation& op) {
    const auto covers = [&](std::uint64_t sector) {
      return op.range.begin <= ByteOffset(sector * 512) && op.range.end > ByteOffset(sector * 512);
    };
    const bool fails = op.kind == FakeOperation::Kind::write && (covers(first) || covers(sixth));
    if (fails) std::this_thread::sleep_for(std::chrono::milliseconds(250));
  });
  write_all_of_it();
  EXPECT_EQ(rig->map.retired.size(), 2U);
  for (std::uint64_t block = 0; block < 16; ++block) {
    EXPECT_EQ(rig->row(block)->cause, block % 5 == 0 && block < 6 ? Cause::slot_error : Cause::operator_add) << block;
  }
}

// The device may be what does not work.
TEST_F(SlowToFail, DeviceIsAskedBeforeUntriedBlocksGetEntries) {
  set_up(256);
  fail_writes_of(0);
  fail_writes_of(5);
  rig->spare().set_after([&](const FakeOperation& op) {
    if (op.kind != FakeOperation::Kind::sync || writes.size() != 2) return;
    rig->primary->set_outage(Outage::read_only);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));  // longer than an answer counts
  });
  EXPECT_EQ(rig->write(0, pattern(0, kLength, 7)).error().code, Errc::suspended);
  EXPECT_EQ(rig->volume->status().remapped_blocks, 1U);
}

TEST_F(Requests, ZeroingMovesItsBlockHoweverLongTheDeviceTakesToFail) {
  rig.unmount();
  VolumeOptions options;
  options.request_budget = std::chrono::milliseconds(20);
  rig.mount(options);
  ASSERT_TRUE(rig.write(0, pattern(0, 4096, 7)));
  rig.primary->add_bad_sectors(0, 1, FaultRule::On::write);
  rig.primary->set_before([](const FakeOperation& op) {
    if (op.kind == FakeOperation::Kind::write && op.range.begin.value() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
  });
  const auto zeroed = rig.volume->zero({ByteOffset(0), ByteOffset(4096)});
  ASSERT_TRUE(zeroed) << describe(zeroed.error());
  EXPECT_EQ(*rig.read(0, 4096), std::vector<std::byte>(4096));
  EXPECT_EQ(rig.volume->status().remapped_blocks, 1U);
}

TEST_F(Requests, FourKnDiskServesRequestsOfAnySize) {
  VolumeRig big({.disk_bytes = 1U << 20U, .logical_block = 4096});
  auto expected = pattern(0, 1U << 20U, 0);
  big.primary->poke(ByteOffset(0), expected);
  std::uint64_t version = 1;
  for (const std::uint64_t offset : {0, 512, 4095, 10000, 12288}) {
    for (const std::uint64_t length : {1, 512, 4096, 5000}) {
      const auto data = pattern(offset, length, ++version);
      ASSERT_TRUE(big.write(offset, data));
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
      ASSERT_EQ(*big.read(offset, length), data);
    }
  }
  EXPECT_EQ(*big.read(0, 1U << 20U), expected);
}

// A logical block that cannot be read takes its eight sectors with it; a sector written whole needs none of them.
TEST_F(Requests, SectorWrittenOverADeadLogicalBlockRevivesAlone) {
  VolumeRig big({.disk_bytes = 1U << 20U, .logical_block = 4096});
  big.primary->add_bad_sectors(80, 8);
  const auto data = pattern(81 * 512, 512, 5);
  ASSERT_TRUE(big.write(81 * 512, data));
  EXPECT_EQ(*big.read(81 * 512, 512), data);
  EXPECT_EQ(big.read(80 * 512, 512).error().code, Errc::lost);
  EXPECT_EQ(big.read(82 * 512, 512).error().code, Errc::lost);
  ASSERT_TRUE(big.row(10));
  EXPECT_EQ(big.row(10)->valid_mask, 0x02U);
}

// A write that fails may ruin what lies around it. What was read before, to be written with it, is all there is: the
// rest of a large sector, or of a sector that the request covers in part.
TEST(RequestsThatFail, WhatWasReadToBeWrittenAlongIsSavedFromMemory) {
  struct Case {
    std::uint32_t logical_block;
    std::uint64_t skip;  // bytes of the block before the write
    std::size_t length;
  };
  for (const Case& now : {Case{4096, 512, 512}, Case{512, 100, 50}}) {
    SCOPED_TRACE(now.logical_block);
    VolumeRig rig({.logical_block = now.logical_block});
    constexpr std::uint64_t kPlace = 40960;
    auto expected = pattern(kPlace, 4096, 1);
    ASSERT_TRUE(rig.write(kPlace, expected));
    const std::uint64_t sectors = now.logical_block / kSectorSize;
    rig.primary->add_bad_sectors(kPlace / kSectorSize, sectors, FaultRule::On::write);
    rig.primary->set_before([&](const FakeOperation& operation) {
      if (operation.kind != FakeOperation::Kind::write || operation.range.begin != ByteOffset(kPlace)) return;
      rig.primary->set_before(nullptr);
      rig.primary->add_bad_sectors(kPlace / kSectorSize, sectors, FaultRule::On::read);
    });
    const auto fresh = pattern(0, now.length, 2);
    ASSERT_TRUE(rig.write(kPlace + now.skip, fresh));
    std::copy(fresh.begin(), fresh.end(), expected.begin() + static_cast<std::ptrdiff_t>(now.skip));
    const auto got = rig.read(kPlace, 4096);
    ASSERT_TRUE(got) << describe(got.error());
    EXPECT_EQ(*got, expected);
    EXPECT_EQ(rig.volume->status().lost_sectors, 0U);
  }
}

}  // namespace
}  // namespace remapfs::testing
