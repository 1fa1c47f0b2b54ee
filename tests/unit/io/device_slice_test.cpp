// SPDX-License-Identifier: Apache-2.0
#include "io/device_slice.hpp"

#include <gtest/gtest.h>

#include "support/fake_disk.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kHalf = 64 << 10;

TEST(DeviceSlice, TheRestOfADeviceIsItself) {
  auto disk = std::make_unique<FakeDisk>(ByteCount(2 * kHalf));
  const FakeDisk* const whole = disk.get();
  auto rest = DeviceSlice::rest_of(std::move(disk), ByteOffset(0));
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->get(), whole);
  auto half = DeviceSlice::rest_of(std::move(*rest), ByteOffset(kHalf));
  ASSERT_TRUE(half);
  EXPECT_EQ((*half)->geometry().size, ByteCount(kHalf));
  const auto nothing = DeviceSlice::rest_of(std::move(*half), ByteOffset(kHalf));
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Errc::not_found);
}

}  // namespace
}  // namespace remapfs::testing
