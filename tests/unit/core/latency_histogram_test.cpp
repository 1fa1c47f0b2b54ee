// SPDX-License-Identifier: Apache-2.0
#include "core/latency_histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "core/utc.hpp"

namespace remapfs {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyCounts, EveryTimeIsInTheBucketOfItsBounds) {
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> times{
      0, 1, 999, 1000, 1001, 8'999'999'999, 9'000'000'000, 9'000'000'001, ~std::uint64_t{0}};
  for (int i = 0; i < 100'000; ++i) times.push_back(random() >> (random() % 64));
  for (std::size_t i = 0; i < LatencyCounts::kBounds; ++i) {
    const std::uint64_t bound = LatencyCounts::bound(i);
    times.insert(times.end(), {bound - 1, bound, bound + 1});
  }
  for (const std::uint64_t ns : times) {
    const std::size_t i = LatencyCounts::bucket_of(ns);
    ASSERT_LE(i, LatencyCounts::kBounds);
    ASSERT_TRUE(i == LatencyCounts::kBounds || ns <= LatencyCounts::bound(i)) << ns;
    ASSERT_TRUE(i == 0 || ns > LatencyCounts::bound(i - 1)) << ns;
  }
  EXPECT_EQ(LatencyCounts::bound(0), 1000U);
  EXPECT_EQ(LatencyCounts::bound(LatencyCounts::kBounds - 1), 9'000'000'000U);
}

TEST(LatencyCounts, QuantilesAreWithinTheirBucketOfTheTrueOnes) {
  LatencyHistogram histogram;
  std::mt19937_64 random(11);
  std::lognormal_distribution<double> times(11, 1.5);  // around 60 us
  std::vector<std::uint64_t> all;
  std::uint64_t total = 0;
  for (int i = 0; i < 50'000; ++i) {
    const auto ns = static_cast<std::uint64_t>(times(random));
    all.push_back(ns);
    total += ns;
    histogram.record(nanoseconds(ns));
  }
  std::sort(all.begin(), all.end());
  const LatencyCounts counts = histogram.counts();
  EXPECT_EQ(counts.count(), all.size());
  EXPECT_EQ(counts.total_ns, total);
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<std::size_t>(share * static_cast<double>(all.size()));
    const std::uint64_t truth = all[std::min(all.size() - 1, rank == 0 ? 0 : rank - 1)];
    EXPECT_EQ(LatencyCounts::bucket_of(counts.quantile(share)), LatencyCounts::bucket_of(truth)) << share;
  }
}

TEST(LatencyCounts, NothingHasNoQuantileAndWhatIsTooLongTheLargestBound) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.counts().quantile(0.5), 0U);
  histogram.record(std::chrono::hours(1));
  histogram.record(nanoseconds(-5));  // a clock that went back
  EXPECT_EQ(histogram.counts().count(), 2U);
  EXPECT_EQ(histogram.counts().quantile(0.999), 9'000'000'000U);
  EXPECT_LE(histogram.counts().quantile(0.5), 1000U);
}

TEST(LatencyHistogram, NothingIsMissedBetweenThreads) {
  LatencyHistogram histogram;
  constexpr std::uint64_t kEach = 20'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 24; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t n = 0; n < kEach; ++n) histogram.record(nanoseconds(n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.counts().count(), 24 * kEach);
  EXPECT_EQ(histogram.counts().total_ns, 24 * (kEach * (kEach - 1) / 2));
}

TEST(Utc, TimesComeBack) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_text(1'795'824'000), "2026-11-28T00:00:00Z");
  EXPECT_EQ(utc_seconds("2026-11-28T00:00:00Z"), 1'795'824'000);
  EXPECT_EQ(utc_seconds(utc_text(1'234'567'890)), 1'234'567'890);
  for (const char* wrong : {"", "2026-11-28", "2026-11-28T00:00:00Zx", "tomorrow"})
    EXPECT_FALSE(utc_seconds(wrong)) << wrong;
}

}  // namespace
}  // namespace remapfs
