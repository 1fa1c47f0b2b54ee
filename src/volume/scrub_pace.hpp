// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "remapfs/units.hpp"

namespace remapfs {

// How a scrub keeps out of the way. It goes in steps, and looks after each whether requests have come meanwhile: when
// they have, its steps are short and it leaves the devices alone for four fifths of the time, so that it gets on,
// slowly, however busy they are. Below the operator's limit it goes as fast as the devices do.
class ScrubPace {
 public:
  // rate: most bytes a second, 0: no limit.
  ScrubPace(std::uint64_t block_size, std::uint64_t rate, bool others) : rate_(rate), others_(others) {
    std::uint64_t bytes = others ? kBusyStep : kMaxRequestSize;
    if (rate != 0 && bytes > rate / kStepsPerSecond) bytes = rate / kStepsPerSecond;
    blocks_ = bytes < block_size ? 1 : bytes / block_size;
  }

  // Blocks of the next step.
  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }

  // How long to wait after a step that read so much in this time.
  [[nodiscard]] std::chrono::nanoseconds pause_after(ByteCount bytes, std::chrono::nanoseconds took) const {
    std::chrono::nanoseconds pause{0};
    if (others_) pause = std::max<std::chrono::nanoseconds>(took * kYield, kLeastPause);
    if (rate_ != 0) {
      const std::chrono::duration<double> due(static_cast<double>(bytes.value()) / static_cast<double>(rate_));
      pause = std::max(pause, std::chrono::duration_cast<std::chrono::nanoseconds>(due) - took);
    }
    return pause;
  }

 private:
  static constexpr std::uint64_t kBusyStep = 256 << 10U;
  static constexpr std::uint64_t kStepsPerSecond = 4;
  static constexpr int kYield = 4;
  static constexpr std::chrono::milliseconds kLeastPause{10};

  std::uint64_t rate_;
  bool others_;
  std::uint64_t blocks_;
};

}  // namespace remapfs
