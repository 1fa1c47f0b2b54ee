// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "cli/handover.hpp"
#include "io/sysfs.hpp"
#include "remapfs/error.hpp"

// How one process follows another in the service of a mount. All of them run this program, with the verb below, and
// find the handover and the descriptors already open.

namespace remapfs::cli {

// remapfs go-on ROLE MAP HANDOVER [WIRE] [CHANNEL WORKER...]: descriptors by number. Not for people: not in the help.
inline constexpr const char* kGoOnVerb = "go-on";
inline constexpr const char* kRoleTry = "try";      // ends with 0 when it could serve this mount
inline constexpr const char* kRoleServe = "serve";  // serves it, over WIRE
inline constexpr const char* kRoleKeep = "keep";    // keeps the descriptors while somebody else serves

// Of a mount: its channel, and two for each worker. And with those of the handover and the wire.
inline constexpr std::size_t kMostMountDescriptors = 1 + 2 * std::size_t{kMaxWorkers};
inline constexpr std::size_t kMostGoOnDescriptors = kMostMountDescriptors + 2;

// Asks the program itself whether it could go on with the mount. Errors: invalid (not a program, or it cannot),
// unsupported (it lies above the mount), timeout; with a message. Threads: any.
[[nodiscard]] Result<void> check_successor(const std::string& program, const SharedHandover& handover,
                                           const MountRecord& record, const KernelViews& views);

// Starts a process that keeps these descriptors, in a session of its own. Errors: device_other, no_memory, unsupported
// (this program lies above the mount).
[[nodiscard]] Result<pid_t> start_keeper(const SharedHandover& handover, const MountRecord& record,
                                         const std::vector<int>& descriptors, const KernelViews& views);

// Becomes that program in this role, with these descriptors (at most kMostGoOnDescriptors) open. Returns, with errno
// set, only when it cannot be run. No allocation: also for a child between fork and exec.
void become_go_on(const char* program, const char* role, const char* map_path, std::span<const int> descriptors);

}  // namespace remapfs::cli
