// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <span>
#include <string>

#include "control/line_channel.hpp"
#include "control/protocol.hpp"

namespace remapfs {

// Asks the daemon of a mounted volume. One object makes one request.
//
// Errors: of every member, besides what the daemon answers: timeout (the daemon does not answer), device_other (it
//   went away in the middle), invalid (its answer cannot be understood).
class ControlClient {
 public:
  // The first of the paths at which a daemon listens. Errors: not_found (nobody does), permission (somebody else's).
  static Result<ControlClient> connect(std::span<const std::string> paths);

  // Removes a socket file that nobody listens at any more. Leaves everything else alone.
  static void remove_stale_socket(const std::string& path);

  // Asks for the status.
  Result<nlohmann::ordered_json> status(std::chrono::milliseconds timeout = std::chrono::seconds(10));
  // Asks for anything else; report is told every block as its line comes in. `timeout` bounds the wait for each line:
  // on a disk that takes a minute for each try, a block with several bad sectors has half an hour.
  Result<Completion> ask(const Request& request, const std::function<void(const BlockReport&)>& report = {},
                         std::chrono::milliseconds timeout = std::chrono::hours(1));

  // Process number of the daemon; 0 when it lives in a process namespace that cannot be seen from here.
  [[nodiscard]] pid_t daemon_pid() const { return daemon_pid_; }
  // Waits until the daemon's process has ended. False when it still runs after `timeout`.
  bool wait_for_exit(std::chrono::milliseconds timeout);

 private:
  ControlClient(UniqueFd socket, pid_t daemon_pid, UniqueFd daemon)
      : channel_(std::move(socket)), daemon_pid_(daemon_pid), daemon_(std::move(daemon)) {}

  Result<ReplyLine> next_line(std::chrono::milliseconds timeout);

  LineChannel channel_;
  pid_t daemon_pid_;
  UniqueFd daemon_;  // pidfd, opened while the daemon was there: its number may be used again later
};

}  // namespace remapfs
