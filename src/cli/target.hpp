// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/mount_entry.hpp"
#include "cli/world.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// What a TARGET argument means.
struct Target {
  std::string map_path;             // absolute, without symbolic links
  std::optional<MountEntry> mount;  // where it is mounted, as far as the mount table of this process shows
};

// TARGET is a map file, a mount point, or the exposed file in it (or any other path to it). Never waits for a mounted
// file system of ours, which may be dead. Errors: not_found, permission, invalid; with a message.
[[nodiscard]] Result<Target> resolve_target(const std::string& text, const World& world);

// For what changes map or spares without asking whoever serves them: a mount is there also while nobody does, for the
// moment between two processes. Errors: busy.
[[nodiscard]] Result<void> check_unmounted(const Target& target);

// Every volume that this user has mounted, once, whatever its mount is bound to. Volumes of other users are theirs:
// what serves those, and where their maps lie, is nothing to be trusted.
[[nodiscard]] std::vector<Target> mounted_targets(const World& world);

// Absolute path without links, "." and ".."; the last part need not exist, nor answer. Errors as above.
[[nodiscard]] Result<std::string> absolute_path(const std::string& text);
// The same of something that is there, with a link in the last part followed as well.
[[nodiscard]] Result<std::string> existing_path(const std::string& text);

}  // namespace remapfs::cli
