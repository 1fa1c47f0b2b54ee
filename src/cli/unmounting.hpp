// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/reach.hpp"
#include "cli/target.hpp"
#include "cli/world.hpp"
#include "control/protocol.hpp"

namespace remapfs::cli {

// Asks the daemon to unmount in order, and waits until its process is gone: everything is flushed, the map closed, its
// lock free. Errors: busy, naming the users; what flushing and closing said; timeout.
Result<void> unmount_in_order(const Daemon& daemon);

// Takes the mount of a dead daemon away, or, by breaking its connection, that of a live one whose users do not let
// go: they get errors from then on; what was acknowledged before is kept. Never under an attached loop device.
// Errors: busy (a loop device is attached), permission, device_other.
Result<void> unmount_by_force(const MountEntry& mount, const World& world);

// Unmounts a target, or finds that it is not mounted (`already`).
Result<Outcome> unmount(const Target& target, bool force, const World& world);

// Removes the mount point if it is the one that attach makes for this user, and empty.
void remove_default_mount_point(const std::string& mount_point, const World& world);

}  // namespace remapfs::cli
