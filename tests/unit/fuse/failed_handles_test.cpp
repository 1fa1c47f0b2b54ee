// SPDX-License-Identifier: Apache-2.0
#include "fuse/failed_handles.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace remapfs::fuse {
namespace {

struct FailedHandlesTest : ::testing::Test {
  std::unique_ptr<FailedHandlesMemory> memory = std::make_unique<FailedHandlesMemory>();
  FailedHandles failed{*memory};

  bool take(std::uint64_t handle) {
    const bool was_failed = failed.begin_to_tell(handle);
    if (was_failed) failed.told(handle);
    return was_failed;
  }
};

TEST_F(FailedHandlesTest, OnlyTheMarkedHandleFailsAndOnlyOnce) {
  EXPECT_FALSE(take(1));
  failed.mark(1);
  failed.mark(1);
  failed.mark(2);
  EXPECT_FALSE(take(3));
  EXPECT_TRUE(take(1));
  EXPECT_FALSE(take(1));
  EXPECT_TRUE(take(2));
  EXPECT_FALSE(take(2));
}

TEST_F(FailedHandlesTest, MoreHandlesThanThereIsRoomForMakeEveryHandleFail) {
  for (std::uint64_t handle = 1; handle <= FailedHandlesMemory::kRoom; ++handle) failed.mark(handle);
  EXPECT_FALSE(failed.begin_to_tell(5000));
  failed.mark(4000);
  for (const std::uint64_t handle : {3U, 3U, 2U, 1U, 5000U}) EXPECT_TRUE(take(handle));
}

TEST_F(FailedHandlesTest, RoomIsGivenBack) {
  for (std::uint64_t handle = 1; handle < 3 * FailedHandlesMemory::kRoom; ++handle) {
    failed.mark(handle);
    if (handle % 2 == 0) {
      EXPECT_TRUE(take(handle));
    } else {
      failed.forget(handle);
    }
  }
  EXPECT_FALSE(take(5000));
}

TEST_F(FailedHandlesTest, AFailureBetweenTheAnswerAndItsEndIsToldByTheNextOne) {
  failed.mark(1);
  EXPECT_TRUE(failed.begin_to_tell(1));
  failed.mark(1);
  failed.told(1);
  EXPECT_TRUE(take(1));
  EXPECT_FALSE(take(1));
}

TEST_F(FailedHandlesTest, AProcessThatEndsBeforeItsAnswerLeavesTheFailureToItsSuccessor) {
  failed.mark(1);
  EXPECT_TRUE(failed.begin_to_tell(1));
  FailedHandles successor(*memory);
  EXPECT_TRUE(successor.begin_to_tell(1));
  successor.told(1);
  EXPECT_FALSE(successor.begin_to_tell(1));
}

TEST_F(FailedHandlesTest, AClosedFileIsForgotten) {
  failed.mark(1);
  failed.mark(2);
  failed.forget(1);
  EXPECT_FALSE(take(1));
  EXPECT_TRUE(take(2));
}

}  // namespace
}  // namespace remapfs::fuse
