// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/daemonize.hpp"
#include "cli/mount_options.hpp"
#include "cli/world.hpp"

namespace remapfs::cli {

// What to serve and where.
struct ServiceSpec {
  std::string map_path;     // absolute
  std::string mount_point;  // absolute
  MountSettings settings;
  bool foreground = false;          // log to the terminal
  bool remove_mount_point = false;  // an empty directory made for this mount
};

// Mounts and serves until unmounted, by SIGTERM, SIGINT, the control socket or umount(8): then drains, flushes, closes
// the map and removes the control socket. A mount in use is never left: whoever asked is told who uses it.
// Returns the exit code: 0, or 2 when the end was not clean. Errors: it could not be mounted, with a message.
// Threads: call with none started, and for the rest of the process.
Result<int> serve(const ServiceSpec& spec, const World& world, Readiness& readiness);

}  // namespace remapfs::cli
