// SPDX-License-Identifier: Apache-2.0
#include "store/row_consumer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace remapfs::store {
namespace {

std::vector<RemapRow> batch_of(std::uint64_t first, std::uint64_t count) {
  std::vector<RemapRow> rows(count);
  for (std::uint64_t i = 0; i < count; ++i) rows[i].block = BlockIndex(first + i);
  return rows;
}

TEST(RowConsumer, EveryRowIsConsumedOnceInOrderBeforeFinishReturns) {
  constexpr std::uint64_t kBatches = 1000;
  constexpr std::uint64_t kRows = 7;
  std::vector<std::uint64_t> seen;
  RowConsumer consumer([&](std::span<const RemapRow> rows) -> Result<void> {
    for (const RemapRow& row : rows) seen.push_back(row.block.value());
    return {};
  });
  for (std::uint64_t i = 0; i < kBatches; ++i) {
    auto batch = batch_of(i * kRows, kRows);
    ASSERT_TRUE(consumer.hand_over(batch));
    EXPECT_TRUE(batch.empty());
  }
  ASSERT_TRUE(consumer.finish());
  ASSERT_EQ(seen.size(), kBatches * kRows);
  for (std::uint64_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], i);
}

TEST(RowConsumer, AfterAFailureNothingMoreIsConsumedAndTheCallerHearsOfIt) {
  std::atomic<int> calls{0};
  std::latch another_waits(1);
  RowConsumer consumer([&](std::span<const RemapRow>) -> Result<void> {
    if (++calls < 3) return {};
    another_waits.wait();
    return fail(Errc::corrupt, "the third");
  });
  for (int i = 0; i < 4; ++i) {
    auto batch = batch_of(0, 1);
    ASSERT_TRUE(consumer.hand_over(batch));
  }
  another_waits.count_down();
  auto batch = batch_of(0, 1);
  const auto outcome = consumer.hand_over(batch);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "the third");
  const auto finished = consumer.finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().message, "the third");
  EXPECT_EQ(calls, 3);
}

TEST(RowConsumer, AFailureOfTheLastBatchIsHeardOfAtTheEnd) {
  RowConsumer consumer([](std::span<const RemapRow>) -> Result<void> { return fail(Errc::corrupt, "the last"); });
  auto batch = batch_of(0, 1);
  ASSERT_TRUE(consumer.hand_over(batch));
  EXPECT_FALSE(consumer.finish());
}

}  // namespace
}  // namespace remapfs::store
