// SPDX-License-Identifier: Apache-2.0
#include "remapfs/aligned_buffer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace remapfs {
namespace {

TEST(AlignedBuffer, StartsAtAPageAndHoldsZeros) {
  for (const std::size_t size : {0U, 1U, 511U, 4096U, 4097U, 1U << 20U}) {
    const auto buffer = AlignedBuffer::allocate(size);
    ASSERT_TRUE(buffer) << size;
    EXPECT_EQ(buffer->size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % AlignedBuffer::kAlignment, 0U);
    const auto bytes = buffer->span();
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST(AlignedBuffer, AnImpossibleSizeIsAnErrorNotACrash) {
  for (const std::size_t size :
       {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() / 2}) {
    const auto buffer = AlignedBuffer::allocate(size);
    ASSERT_FALSE(buffer);
    EXPECT_EQ(buffer.error().code, Errc::no_memory);
  }
}

TEST(AlignedBuffer, MovingLeavesAnEmptyOneBehind) {
  AlignedBuffer from = *AlignedBuffer::allocate(512);
  from.span()[0] = std::byte{7};
  AlignedBuffer to = std::move(from);
  EXPECT_EQ(to.span()[0], std::byte{7});
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
  from = std::move(to);
  EXPECT_EQ(from.size(), 512U);
  EXPECT_TRUE(to.empty());  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace remapfs
