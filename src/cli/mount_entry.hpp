// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/sysfs.hpp"

namespace remapfs::cli {

// One mount as /proc/self/mountinfo shows it.
struct MountEntry {
  std::string mount_point;
  std::string type;
  std::string source;  // of ours: the path of the map
  std::string device;  // "8:1"
  uid_t owner = 0;     // of a FUSE mount: who made it

  // A volume of ours: other mounts of the same type, which only we look at, have no path as their source.
  [[nodiscard]] bool is_ours() const { return type == "fuse.remapfs" && source.starts_with('/'); }
  // The two places where the virtual disk may be: the mount point, when that was a file, or `disk` in it.
  [[nodiscard]] std::vector<std::string> possible_disk_paths() const { return {mount_point, mount_point + "/disk"}; }
};

// Nothing when the line has not the form of proc(5).
[[nodiscard]] std::optional<MountEntry> parse_mount_entry(std::string_view line);

// All mounts, in the order they were made. Never touches the mounted file systems.
[[nodiscard]] std::vector<MountEntry> all_mounts(const KernelViews& views);

}  // namespace remapfs::cli
