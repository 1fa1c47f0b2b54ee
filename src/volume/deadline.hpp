// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace remapfs {

// The moment at which a request must stop trying. Devices cannot be interrupted, so one access may overrun it.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Deadline(std::chrono::milliseconds budget) : at_(Clock::now() + budget) {}

  [[nodiscard]] bool passed() const { return Clock::now() >= at_; }
  [[nodiscard]] Clock::time_point at() const { return at_; }

 private:
  Clock::time_point at_;
};

}  // namespace remapfs
