// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/mount_options.hpp"
#include "cli/world.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// A mount is there also for the moment in which nobody serves it and nobody has the map. Errors: busy.
[[nodiscard]] Result<void> check_not_mounted(const std::string& map_path, const World& world);

// Starts a daemon for the map at the mount point and waits until the disk there can be opened; its path is the result.
// Threads: none may have been started: the daemon is a fork of this process.
// Errors: whatever kept it from being mounted, with a message.
Result<std::string> mount_in_background(const std::string& map_path, const std::string& mount_point,
                                        const MountSettings& settings, bool remove_mount_point, World& world);

// Path of the disk of a mount that is served: MOUNTPOINT/disk, or MOUNTPOINT when that is a file. Opens it for reading
// and closes it again. Errors: not_found, device errors.
Result<std::string> open_served_disk(const std::string& mount_point);

}  // namespace remapfs::cli
