// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace remapfs {

// How many of something took how long: counts in buckets whose bounds are 1, 2, ..., 9 times a power of ten, from 1 us
// to 9 s, and one for what took longer.
struct LatencyCounts {
  static constexpr std::size_t kDecades = 7;
  static constexpr std::size_t kBounds = 9 * kDecades;

  std::array<std::uint64_t, kBounds + 1> buckets{};  // [i]: more than bound(i - 1), at most bound(i)
  std::uint64_t total_ns = 0;

  // In nanoseconds; i < kBounds.
  [[nodiscard]] static std::uint64_t bound(std::size_t i);
  // Of the first bucket that holds this; kBounds for the last one.
  [[nodiscard]] static std::size_t bucket_of(std::uint64_t ns);
  [[nodiscard]] std::uint64_t count() const;
  // What `share` of them took at most, in nanoseconds, between the bounds of its bucket; 0 when there are none.
  [[nodiscard]] std::uint64_t quantile(double share) const;
};

// Counts what several threads measure. Threads: any. Cost: two additions, mostly to a line that is the thread's own.
// Memory: 8 KiB.
class LatencyHistogram {
 public:
  void record(std::chrono::nanoseconds took) {
    Line& line = lines_[my_line()];
    const auto ns = static_cast<std::uint64_t>(took.count() > 0 ? took.count() : 0);
    line.buckets[LatencyCounts::bucket_of(ns)].fetch_add(1, std::memory_order_relaxed);
    line.total_ns.fetch_add(ns, std::memory_order_relaxed);
  }
  // Of what is recorded meanwhile some is counted.
  [[nodiscard]] LatencyCounts counts() const;

 private:
  static constexpr std::size_t kLines = 16;
  struct alignas(64) Line {
    std::array<std::atomic<std::uint64_t>, LatencyCounts::kBounds + 1> buckets{};
    std::atomic<std::uint64_t> total_ns{0};
  };
  [[nodiscard]] static std::size_t my_line();

  std::array<Line, kLines> lines_;
};

// The requests of a disk that are timed; zero: and discard.
enum class RequestKind : std::uint8_t { read, write, flush, zero };
inline constexpr std::size_t kRequestKinds = 4;
[[nodiscard]] std::string_view to_string(RequestKind kind);

using RequestLatencies = std::array<LatencyCounts, kRequestKinds>;  // by RequestKind

}  // namespace remapfs
