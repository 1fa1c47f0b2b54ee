// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "remapfs/error.hpp"

namespace faulty {

// What `faulty-disk mount` was asked for.
struct MountRequest {
  std::string image;
  std::string mount_point;  // an existing directory or regular file
  std::string rule_file;    // empty: no rules
  std::uint32_t sector_size = 512;
  bool foreground = false;
  bool allow_other = false;
};

// Serves a disk until it is unmounted: by the control socket, by SIGTERM or SIGINT, or from outside.
// on_ready is called once, when the disk can be used and is controlled. report prints a warning or a refused signal.
// Errors: whatever keeps the disk from being served, with a message; nothing stays mounted then.
[[nodiscard]] remapfs::Result<void> serve_disk(const MountRequest& request, const std::function<void()>& on_ready,
                                               const std::function<void(const std::string&)>& report);

// Runs serve_disk() in a background process; returns when the disk is ready or has failed.
[[nodiscard]] remapfs::Result<void> serve_disk_in_background(const MountRequest& request);

}  // namespace faulty
