// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>

namespace remapfs {

// Bytes a second, the more recent the weightier: two thirds of what was five seconds ago are forgotten. Threads: one at
// a time.
class RateMeter {
 public:
  void add(std::uint64_t bytes, std::chrono::nanoseconds took) {
    const double passed = std::chrono::duration<double>(took).count();
    const double kept = std::exp(-passed / kSeconds);
    bytes_ = bytes_ * kept + static_cast<double>(bytes);
    seconds_ = seconds_ * kept + passed;
  }
  // 0 before anything was measured.
  [[nodiscard]] std::uint64_t bytes_per_second() const {
    return seconds_ > 0 ? static_cast<std::uint64_t>(bytes_ / seconds_) : 0;
  }

 private:
  static constexpr double kSeconds = 5;
  double bytes_ = 0;
  double seconds_ = 0;
};

}  // namespace remapfs
