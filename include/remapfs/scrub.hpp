// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "remapfs/units.hpp"

namespace remapfs {

// never: the volume has not been scrubbed yet; paused and stopped: by the operator, or because it could not go on.
// A paused scrub can be resumed where it was.
enum class ScrubState : std::uint8_t { never, running, paused, stopped, finished };
[[nodiscard]] constexpr std::string_view to_string(ScrubState state) {
  switch (state) {
    case ScrubState::never: return "never";
    case ScrubState::running: return "running";
    case ScrubState::paused: return "paused";
    case ScrubState::stopped: return "stopped";
    case ScrubState::finished: return "finished";
  }
  return "unknown";
}
inline constexpr ScrubState kLastScrubState = ScrubState::finished;

// What a scrub came upon.
struct ScrubFindings {
  std::uint64_t moved_blocks = 0;   // were weak, and are in a slot now
  std::uint64_t weak_blocks = 0;    // are weak, and could not be moved
  std::uint64_t lost_sectors = 0;   // could not be read, and were not known to be lost
  std::uint64_t unread_blocks = 0;  // were in use, or failing, for too long: nothing is known

  ScrubFindings& operator+=(const ScrubFindings& other) {
    moved_blocks += other.moved_blocks;
    weak_blocks += other.weak_blocks;
    lost_sectors += other.lost_sectors;
    unread_blocks += other.unread_blocks;
    return *this;
  }
  friend bool operator==(const ScrubFindings&, const ScrubFindings&) = default;
};

// The scrub under way, or the last one: the row of `scrub` in the map.
struct ScrubRecord {
  ScrubState state = ScrubState::never;
  BlockIndex next;         // the first block that was not looked at yet
  std::uint64_t rate = 0;  // most bytes a second; 0: no limit
  ScrubFindings found;
  std::string started_at;  // UTC, "2026-01-31T23:59:59Z"; empty: never
  std::string updated_at;  // when the record was written; of a finished scrub, its end

  friend bool operator==(const ScrubRecord&, const ScrubRecord&) = default;
};

// A scrub as it can be watched.
struct ScrubStatus {
  ScrubRecord record;
  std::uint64_t total_blocks = 0;
  std::uint64_t bytes_per_second = 0;  // at present, while it runs
  std::string trouble;                 // what it waits for, or why it was paused by itself; empty: nothing
};

enum class ScrubAction : std::uint8_t { start, pause, resume, stop, status };
[[nodiscard]] constexpr std::string_view to_string(ScrubAction action) {
  switch (action) {
    case ScrubAction::start: return "start";
    case ScrubAction::pause: return "pause";
    case ScrubAction::resume: return "resume";
    case ScrubAction::stop: return "stop";
    case ScrubAction::status: return "status";
  }
  return "unknown";
}
inline constexpr ScrubAction kLastScrubAction = ScrubAction::status;

struct ScrubRequest {
  ScrubAction action = ScrubAction::status;
  std::optional<std::uint64_t> rate;  // most bytes a second, 0: no limit; nothing: none for a new scrub, else as before
};

}  // namespace remapfs
