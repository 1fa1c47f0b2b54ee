// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "remapfs/error.hpp"

namespace remapfs::fuse {

// One line of /proc/self/mountinfo, unescaped.
struct MountEntry {
  unsigned device_major = 0;
  unsigned device_minor = 0;  // of a FUSE mount also the number of its connection in /sys/fs/fuse/connections
  std::string mount_point;
  std::string type;           // "fuse.remapfs"
  std::string source;         // the fsname
  std::string super_options;  // of the file system, with commas; as they stand there
};

// Reads one line; nothing when it has not the form of proc(5).
[[nodiscard]] std::optional<MountEntry> parse_mount_line(std::string_view line);

// The mount on top at this place, if any. Never touches the mounted file system, which may hang or be dead.
// Errors: not_found when /proc cannot be read.
[[nodiscard]] Result<std::optional<MountEntry>> find_mount(const std::string& canonical_path);

// Every mount of a file system, by its device, that this mount namespace sees, the oldest first: where it was mounted
// (under the name that place has now), and bind mounts of it. Errors: as above.
[[nodiscard]] Result<std::vector<MountEntry>> mounts_of_device(unsigned device_major, unsigned device_minor);

// The absolute path without symbolic links, "." and "..". Works for a mount point whose file system is dead: then only
// the folder above it is resolved. Errors: not_found, permission, invalid (not a path at all), with a message.
[[nodiscard]] Result<std::string> canonical_mount_point(const std::string& path);

}  // namespace remapfs::fuse
