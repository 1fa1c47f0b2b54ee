// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "io/sysfs.hpp"
#include "remapfs/error.hpp"

// What `create` and `mount` refuse to take as a member of a volume. Every error is one line, "what, where, what to do".
// Nothing here changes anything. The answers are of the moment: open_device() with `exclusive` keeps them true.

namespace remapfs {

// Refuses what somebody in the kernel uses: mounted (also a partition of it, or the disk it is on), swap, under an
// active loop device, under a mapped device. Errors: busy, not_found, permission, invalid.
[[nodiscard]] Result<void> check_unused(const std::string& path, const KernelViews& views = {});

// Names what the device carries, a file system, partition table, RAID member or the like, as libblkid knows them:
// "file system (ext4 \"home\")". Empty: nothing. Errors: not_found, permission, device errors.
[[nodiscard]] Result<std::string> find_signature(const std::string& path);

// Refuses what carries one. Errors: exists, with the name of what is there; those of find_signature().
[[nodiscard]] Result<void> check_no_signature(const std::string& path);

// Refuses two members that share bytes, by whatever paths: the same file or device through links, mounts and other
// nodes, a disk and its partition, a loop device and its backing file. Errors: invalid, not_found, permission.
[[nodiscard]] Result<void> check_no_overlap(const std::string& path, const std::string& other,
                                            const KernelViews& views = {});

}  // namespace remapfs
