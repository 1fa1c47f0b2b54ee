// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

namespace remapfs::fuse {

// How many requests a worker takes before it hands their transfers to the kernel, and answers before it takes others:
// half of the most that were in flight lately. While one half is being answered and taken the disk has the other; and
// what a submission costs, a virtual disk tens of microseconds, is shared by many.
//
// Threads: one.
class BatchSize {
 public:
  // To be told before each batch is answered.
  void note_in_flight(unsigned now) { most_lately_ = std::max(now, most_lately_ - most_lately_ / kForgotten); }
  [[nodiscard]] unsigned get() const { return std::max(kLeast, most_lately_ / 2); }

 private:
  // Few requests are taken and answered together, whatever is in flight.
  static constexpr unsigned kLeast = 4;
  // An eighth each time: what is in flight rises and falls by half from one batch to the next.
  static constexpr unsigned kForgotten = 8;

  unsigned most_lately_ = 0;
};

}  // namespace remapfs::fuse
