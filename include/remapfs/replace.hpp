// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace remapfs {

// never: since the volume was mounted. returning: the new device serves, and blocks come back to it from the spares.
enum class ReplaceState : std::uint8_t { never, copying, returning, finished, stopped, failed };
[[nodiscard]] constexpr std::string_view to_string(ReplaceState state) {
  switch (state) {
    case ReplaceState::never: return "never";
    case ReplaceState::copying: return "copying";
    case ReplaceState::returning: return "returning";
    case ReplaceState::finished: return "finished";
    case ReplaceState::stopped: return "stopped";
    case ReplaceState::failed: return "failed";
  }
  return "unknown";
}

// A replacement of the primary as it can be watched.
struct ReplaceStatus {
  ReplaceState state = ReplaceState::never;
  std::string path;  // of the new device
  std::uint64_t total_bytes = 0;
  std::uint64_t left_bytes = 0;        // to be copied; grows when more is written than copied
  bool again = false;                  // all was copied once: what is left was written since
  std::uint64_t bytes_per_second = 0;  // at present
  bool switched = false;               // the new device is the primary
  std::uint64_t returned_blocks = 0;
  std::uint64_t kept_blocks = 0;  // at the end, still on spares
  std::string trouble;            // what it waits for, or why it ended; empty: nothing
};

enum class ReplaceAction : std::uint8_t { start, stop, status };
[[nodiscard]] constexpr std::string_view to_string(ReplaceAction action) {
  switch (action) {
    case ReplaceAction::start: return "start";
    case ReplaceAction::stop: return "stop";
    case ReplaceAction::status: return "status";
  }
  return "unknown";
}
inline constexpr ReplaceAction kLastReplaceAction = ReplaceAction::status;

struct ReplaceRequest {
  ReplaceAction action = ReplaceAction::status;
  std::string path;        // to start: of the new device, absolute
  std::uint64_t rate = 0;  // most bytes a second; 0: no limit
};

}  // namespace remapfs
