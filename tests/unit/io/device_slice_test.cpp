// SPDX-License-Identifier: Apache-2.0
#include "io/device_slice.hpp"

#include <gtest/gtest.h>

#include "support/fake_disk.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kHalf = 64 << 10;

// Two halves of one disk.
class SharedHalves : public ::testing::Test {
 protected:
  SharedHalves() {
    auto disk = std::make_unique<FakeDisk>(ByteCount(2 * kHalf));
    disk_ = disk.get();
    auto whole = std::make_shared<SharedDevice>(std::move(disk));
    front_ = *DeviceSlice::make(whole, {ByteOffset(0), ByteOffset(kHalf)});
    back_ = *DeviceSlice::make(whole, {ByteOffset(kHalf), ByteOffset(2 * kHalf)});
  }

  FakeDisk* disk_ = nullptr;
  std::unique_ptr<DeviceSlice> front_;
  std::unique_ptr<DeviceSlice> back_;
};

TEST_F(SharedHalves, ASyncThatFailsIsHeardByEachOnce) {
  disk_->fail_syncs(1, {Errc::media, EIO, {}});
  EXPECT_EQ(front_->sync().error().code, Errc::media);
  EXPECT_TRUE(front_->sync()) << "has heard of it";
  EXPECT_EQ(back_->sync().error().code, Errc::media) << "the kernel would not tell again";
  EXPECT_TRUE(back_->sync());
}

TEST_F(SharedHalves, OneThatFailsForBothIsHeardOfAsOne) {
  disk_->fail_syncs(2, {Errc::media, EIO, {}});
  EXPECT_FALSE(front_->sync());
  EXPECT_FALSE(back_->sync());
  EXPECT_FALSE(front_->sync()) << "the other's failure came after its own";
  EXPECT_TRUE(back_->sync());
  EXPECT_TRUE(front_->sync());
}

TEST_F(SharedHalves, WhoIsOpenedAgainByTheOtherHearsOfItBeforeASyncSucceeds) {
  ASSERT_TRUE(front_->reopen());
  EXPECT_TRUE(front_->sync());
  const auto synced = back_->sync();
  ASSERT_FALSE(synced) << "what it had not stored went with the old descriptor";
  EXPECT_EQ(synced.error().code, Errc::device_other);
  EXPECT_TRUE(back_->sync());
}

TEST_F(SharedHalves, TheDeviceIsOpenedOnceForBoth) {
  ASSERT_TRUE(front_->reopen());
  ASSERT_TRUE(back_->reopen());
  EXPECT_EQ(disk_->counters().reopens, 1U);
  EXPECT_TRUE(back_->sync());
  ASSERT_TRUE(back_->reopen());
  EXPECT_EQ(disk_->counters().reopens, 2U) << "anew, since it has heard of the first";
  ASSERT_TRUE(front_->reopen());
  EXPECT_EQ(disk_->counters().reopens, 2U);
}

TEST_F(SharedHalves, AnOpeningThatFailedIsNone) {
  disk_->set_outage(Outage::gone);
  EXPECT_FALSE(front_->reopen());
  EXPECT_FALSE(back_->reopen());
  disk_->set_outage(Outage::none);
  EXPECT_TRUE(back_->sync());
  EXPECT_TRUE(front_->sync());
}

TEST(DeviceSlice, TheRestOfADeviceIsItself) {
  auto disk = std::make_unique<FakeDisk>(ByteCount(2 * kHalf));
  const FakeDisk* const whole = disk.get();
  auto rest = DeviceSlice::rest_of(std::move(disk), ByteOffset(0));
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->get(), whole);
  auto half = DeviceSlice::rest_of(std::move(*rest), ByteOffset(kHalf));
  ASSERT_TRUE(half);
  EXPECT_EQ((*half)->geometry().size, ByteCount(kHalf));
  EXPECT_FALSE(DeviceSlice::rest_of(std::move(*half), ByteOffset(kHalf))) << "nothing is left";
}

}  // namespace
}  // namespace remapfs::testing
