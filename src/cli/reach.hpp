// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/target.hpp"
#include "cli/world.hpp"
#include "control/client.hpp"
#include "core/json.hpp"

namespace remapfs::cli {

// The daemon that serves a target: how to ask it, and its status when it was found.
class Daemon {
 public:
  Daemon(std::string socket, nlohmann::ordered_json status) : socket_(std::move(socket)), status_(std::move(status)) {}

  // A new connection, for one request.
  [[nodiscard]] Result<ControlClient> connect() const { return ControlClient::connect({&socket_, 1}); }
  [[nodiscard]] const nlohmann::ordered_json& status() const { return status_; }
  [[nodiscard]] std::string mount_point() const;
  // A device of it does not work, and requests fail or wait until a resume. The state may name something worse.
  [[nodiscard]] bool suspended() const;

 private:
  std::string socket_;
  nlohmann::ordered_json status_;
};

// The daemon that serves the target; nothing when it is not mounted. Waits for up to two seconds for one that is being
// started again after a crash: it may answer before it serves, then its status says nothing of the mount.
// Errors: device_gone (mounted, but its daemon has died), transport (its daemon lives and listens elsewhere),
// permission (another user's), busy (a daemon serves another
//   copy of this map), timeout (the daemon hangs), and those of reading the map.
[[nodiscard]] Result<std::optional<Daemon>> find_daemon(const Target& target, const World& world);

// Who follows what a daemon does loses sight of it for a moment when another process goes on with the mount, which may
// have to wait for what is in flight on a dying disk.
class OutOfSight {
 public:
  // After each look: true when it has not been seen for longer than that takes.
  [[nodiscard]] bool for_good(bool seen);

 private:
  std::optional<std::chrono::steady_clock::time_point> since_;
};

// Whether a mount of ours has a connection still, whose requests somebody answers or will: its users wait while nobody
// does. Takes two seconds then.
[[nodiscard]] bool is_connected(const std::string& mount_point);

}  // namespace remapfs::cli
