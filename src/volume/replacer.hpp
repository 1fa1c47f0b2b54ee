// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "remapfs/replace.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/volume.hpp"
#include "volume/rate_meter.hpp"

namespace remapfs {

// Replaces the primary of a volume in the background: one thread, which copies the disk, waits so that requests go
// first, has the volume go on with the new device, and then brings blocks back to it from the spares. Until all was
// copied once requests go first; from then on it goes as fast as the rate allows, or it would never come to an end.
// Blocks come back as scrubs go, behind requests.
//
// When the process ends before the new device is in use, it is not: the copy begins anew.
// Threads: every member but the destructor from any number of threads.
class Replacer {
 public:
  // volume outlives this object. on_switch: called when the new device serves, on the thread.
  explicit Replacer(Volume& volume, std::function<void()> on_switch = {})
      : volume_(volume), on_switch_(std::move(on_switch)) {}
  // Ends what is under way.
  ~Replacer();
  Replacer(const Replacer&) = delete;
  Replacer& operator=(const Replacer&) = delete;

  // rate: most bytes a second; 0: no limit. Errors: busy (one is under way), no_memory; what the volume has against the
  // device shows in the status.
  Result<void> start(NewPrimary next, std::uint64_t rate);
  // Waits until it has ended. `already`: none is under way.
  Outcome stop();
  [[nodiscard]] ReplaceStatus status() const;
  [[nodiscard]] bool runs() const;
  // Runs, and the new device does not serve yet.
  [[nodiscard]] bool copies() const;
  // Waits until none runs, or for so long. True when none runs.
  bool wait(std::chrono::milliseconds timeout);

 private:
  using Clock = std::chrono::steady_clock;

  void work(NewPrimary next, std::uint64_t rate);
  std::uint64_t pace(const CopyProgress& progress, std::uint64_t rate);
  void bring_back(std::uint64_t rate);
  // Whether requests came since it was asked last. On the thread.
  [[nodiscard]] bool others_came();
  // False: it is to end.
  bool rest(Clock::duration pause) REQUIRES(mutex_);

  Volume& volume_;
  const std::function<void()> on_switch_;
  std::uint64_t requests_seen_ = 0;  // of the thread
  Clock::time_point step_begun_{};   // of the thread
  std::uint64_t left_before_ = 0;    // of the thread

  Mutex starting_;  // before mutex_
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  ReplaceStatus status_ GUARDED_BY(mutex_);
  RateMeter meter_ GUARDED_BY(mutex_);
  bool leaving_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // of whoever has starting_, or destroys this
};

}  // namespace remapfs
