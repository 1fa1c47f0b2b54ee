// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "remapfs/scrub.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/volume.hpp"
#include "volume/rate_meter.hpp"

namespace remapfs {

// "3 weak blocks moved, 0 not moved; 8 sectors lost; 0 blocks not read".
[[nodiscard]] std::string in_words(const ScrubFindings& found);

// Scrubs a volume in the background: one thread, which reads, waits so that requests go first, and saves now and then
// how far it has come. A scrub that runs when its process ends, however it ends, is gone on with by the next one that
// serves the volume, from where it was saved last.
//
// A device that does not work is waited for. Anything else that keeps it from going on (the map cannot be written)
// pauses it, with an event. Threads: every member but the destructor from any number of threads.
class Scrubber {
 public:
  // volume outlives this object. go_on: continue a scrub that was running when the volume was last in use.
  // save_after: how much of the work may be done again after a crash.
  Scrubber(Volume& volume, bool go_on, std::chrono::milliseconds save_after = std::chrono::seconds(30));
  // Ends the thread and saves. A scrub that runs stays one that runs.
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // start: from the beginning; `already` when one runs, which then takes on the rate that is asked for. resume: of a
  // paused scrub; as start when there is none to resume. pause, stop: `already` when none runs; a paused one can be
  // stopped. Durable when it returns.
  // Errors: no_memory (no thread can be had), invalid (the rate), and those of Volume::record_scrub().
  Result<Outcome> apply(const ScrubRequest& request);
  [[nodiscard]] ScrubStatus status() const;
  // Waits until none runs, or for so long. True when none runs.
  bool wait(std::chrono::milliseconds timeout);

 private:
  using Clock = std::chrono::steady_clock;
  // A step that is due.
  struct Step {
    std::uint64_t run = 0;
    BlockIndex from;
    std::uint64_t rate = 0;
    bool due = false;  // false: there is only something to be saved
  };
  struct Done {
    Result<BlockIndex> next;
    ScrubFindings found;
    Clock::duration took{};
    Clock::duration pause{};
  };

  [[nodiscard]] bool runs() const REQUIRES(mutex_) { return record_.state == ScrubState::running; }
  Result<Outcome> begin(const ScrubRequest& request, bool anew);
  Result<Outcome> end(ScrubState state);
  Result<void> need_thread() REQUIRES(mutex_);
  void work();
  std::optional<Step> await_step();
  [[nodiscard]] Done carry_out(const Step& step);
  void take_in(const Step& step, Done& done);
  void end_with(ScrubState state, Event event) REQUIRES(mutex_);
  [[nodiscard]] bool must_save() const;
  void rest(const Step& step, Clock::duration pause);
  Result<void> save() EXCLUDES(mutex_);
  [[nodiscard]] std::uint64_t requests_so_far() const;
  [[nodiscard]] ByteCount bytes_of(BlockRange blocks) const;

  Volume& volume_;
  const std::uint64_t total_;
  const std::chrono::milliseconds save_after_;
  std::uint64_t requests_seen_ = 0;  // of the thread

  Mutex saving_;  // before mutex_
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  ScrubRecord record_ GUARDED_BY(mutex_);
  std::uint64_t run_ GUARDED_BY(mutex_) = 0;  // changes when another scrub begins
  std::string trouble_ GUARDED_BY(mutex_);
  RateMeter meter_ GUARDED_BY(mutex_);
  Clock::time_point saved_at_ GUARDED_BY(mutex_);
  bool unsaved_ GUARDED_BY(mutex_) = false;  // the map lacks something that will not be saved by itself
  std::optional<Event> unsaved_event_ GUARDED_BY(mutex_);
  bool leaving_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace remapfs
