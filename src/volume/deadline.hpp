// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "remapfs/units.hpp"

namespace remapfs {

// The moment at which a request must stop trying. Devices cannot be interrupted, so one access may overrun it.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  // ended: it has passed, whatever the time, when this says so.
  explicit Deadline(std::chrono::milliseconds budget, std::function<bool()> ended = {})
      : at_(Clock::now() + budget), ended_(std::move(ended)) {}

  [[nodiscard]] bool passed() const { return Clock::now() >= at_ || (ended_ && ended_()); }
  [[nodiscard]] Clock::time_point at() const { return at_; }
  // What others took does not count.
  void put_off(Clock::duration by) { at_ += by; }

 private:
  Clock::time_point at_;
  std::function<bool()> ended_;
};

// The time of a request for trying again. It begins when the first access has failed: a device that takes long to fail
// leaves enough to find out why and to move the block.
class RetryTime {
 public:
  explicit RetryTime(std::chrono::milliseconds budget) : budget_(budget) {}

  [[nodiscard]] Deadline& deadline() {
    if (!deadline_) deadline_.emplace(budget_);
    return *deadline_;
  }

 private:
  const std::chrono::milliseconds budget_;
  std::optional<Deadline> deadline_;
};

// What one write has tried.
struct WriteTries {
  explicit WriteTries(std::chrono::milliseconds budget) : time(budget) {}

  RetryTime time;
  ByteOffset failed_end;  // of what failed as a whole
};

}  // namespace remapfs
