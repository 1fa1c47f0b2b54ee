// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>

namespace remapfs::cli {

// Whether, and after which pause, another process follows one that has ended without having been told to.
//
// A crash that comes again and again is a request that kills whoever serves it, or a volume that cannot be served: then
// an error is better than waiting for ever. Kills come from outside and say nothing about the next process.
// Threads: one. No allocation.
class RestartPolicy {
 public:
  using milliseconds = std::chrono::milliseconds;

  // A process that served for this long was no failure.
  static constexpr milliseconds kServedWell{1000};
  // In a row, of processes that could not start or crashed right away; and of such that somebody killed, before they
  // served and at all.
  static constexpr unsigned kMostFailures = 10;
  static constexpr unsigned kMostEarlyKills = 200;
  static constexpr unsigned kMostKills = 10'000;
  static constexpr milliseconds kFirstPause{20};
  static constexpr milliseconds kLongestPause{5000};

  // A process has ended, for whatever reason. served: for how long; nothing: it never came to it.
  void note_end(std::optional<milliseconds> served);
  // It was not told to end. killed: by somebody else's signal. The pause before the next one; nothing: there is none.
  [[nodiscard]] std::optional<milliseconds> next(bool killed);

 private:
  unsigned failures_ = 0;
  unsigned kills_ = 0;
  unsigned early_kills_ = 0;
};

}  // namespace remapfs::cli
