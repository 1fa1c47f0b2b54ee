// SPDX-License-Identifier: Apache-2.0
#include "fuse/failed_handles.hpp"

#include <gtest/gtest.h>

namespace remapfs::fuse {
namespace {

TEST(FailedHandles, OnlyTheMarkedHandleFailsAndOnlyOnce) {
  FailedHandles failed;
  EXPECT_FALSE(failed.take(1));
  failed.mark(1);
  failed.mark(1);
  failed.mark(2);
  EXPECT_FALSE(failed.take(3));
  EXPECT_TRUE(failed.take(1));
  EXPECT_FALSE(failed.take(1));
  EXPECT_TRUE(failed.take(2));
  EXPECT_FALSE(failed.take(2));
}

TEST(FailedHandles, MoreHandlesThanThereIsRoomForMakeEveryHandleFail) {
  FailedHandles failed(2);
  for (const std::uint64_t handle : {1U, 2U, 3U}) failed.mark(handle);
  for (const std::uint64_t handle : {3U, 3U, 2U, 1U, 4U}) EXPECT_TRUE(failed.take(handle));
}

TEST(FailedHandles, RoomIsGivenBack) {
  FailedHandles failed(2);
  for (std::uint64_t handle = 1; handle < 100; ++handle) {
    failed.mark(handle);
    EXPECT_TRUE(failed.take(handle));
  }
  EXPECT_FALSE(failed.take(100));
}

}  // namespace
}  // namespace remapfs::fuse
