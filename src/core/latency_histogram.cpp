// SPDX-License-Identifier: Apache-2.0
#include "core/latency_histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "remapfs/error.hpp"

namespace remapfs {
namespace {

constexpr std::uint64_t kSmallest = 1000;

constexpr auto kAllBounds = [] {
  std::array<std::uint64_t, LatencyCounts::kBounds> bounds{};
  std::uint64_t power = kSmallest;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = power * (i % 9 + 1);
    if (i % 9 == 8) power *= 10;
  }
  return bounds;
}();

// By the number of bits of a time: the bucket of the shortest time that has so many. At most four bounds follow before
// the next power of two.
constexpr auto kFirstBucket = [] {
  std::array<std::uint8_t, 65> first{};
  for (std::size_t bits = 1; bits < first.size(); ++bits) {
    const std::uint64_t shortest = std::uint64_t{1} << (bits - 1);
    std::size_t i = 0;
    while (i < kAllBounds.size() && kAllBounds[i] < shortest) ++i;
    first[bits] = static_cast<std::uint8_t>(i);
  }
  return first;
}();

}  // namespace

std::uint64_t LatencyCounts::bound(std::size_t i) { return kAllBounds[i]; }

std::size_t LatencyCounts::bucket_of(std::uint64_t ns) {
  std::size_t i = kFirstBucket[static_cast<std::size_t>(std::bit_width(ns))];
  while (i < kBounds && kAllBounds[i] < ns) ++i;
  return i;
}

std::uint64_t LatencyCounts::count() const { return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0}); }

std::uint64_t LatencyCounts::quantile(double share) const {
  const std::uint64_t all = count();
  if (all == 0) return 0;
  const double wanted = std::max(1.0, share * static_cast<double>(all));
  double before = 0;
  for (std::size_t i = 0; i < kBounds; ++i) {
    const auto here = static_cast<double>(buckets[i]);
    if (before + here >= wanted && here > 0) {
      const double low = i == 0 ? 0 : static_cast<double>(bound(i - 1));
      const auto high = static_cast<double>(bound(i));
      return static_cast<std::uint64_t>(std::llround(low + (high - low) * (wanted - before) / here));
    }
    before += here;
  }
  return bound(kBounds - 1);
}

LatencyCounts LatencyHistogram::counts() const {
  LatencyCounts sum;
  for (const Line& line : lines_) {
    for (std::size_t i = 0; i < line.buckets.size(); ++i) {
      sum.buckets[i] += line.buckets[i].load(std::memory_order_relaxed);
    }
    sum.total_ns += line.total_ns.load(std::memory_order_relaxed);
  }
  return sum;
}

std::size_t LatencyHistogram::my_line() {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t line = next.fetch_add(1, std::memory_order_relaxed) % kLines;
  return line;
}

std::string_view to_string(RequestKind kind) {
  switch (kind) {
    case RequestKind::read: return "read";
    case RequestKind::write: return "write";
    case RequestKind::flush: return "flush";
    case RequestKind::zero: return "zero";
  }
  invariant_failed("RequestKind has a name", __FILE__, __LINE__);
}

}  // namespace remapfs
