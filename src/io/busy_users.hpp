// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "io/sysfs.hpp"

namespace remapfs {

// Somebody who uses a file or device.
struct BusyUser {
  std::string what;  // a command's name, "/dev/loop3", "mounted on /mnt", "swap"
  pid_t pid = 0;     // 0 when it is not a process

  friend bool operator==(const BusyUser&, const BusyUser&) = default;
};

// Who has it open: processes other than this one with a descriptor, mapping or working directory there, and loop
// devices on top of it. For a directory: who uses anything on the file system mounted there.
//
// Never waits for the file system it is about: attributes are taken from the cache, and a process that cannot be looked
// into for half a second, because it waits itself, counts as a user (a thread of ours then stays with it).
// Errors: none; processes that may not be looked into are left out. Cost: looks at every process.
[[nodiscard]] std::vector<BusyUser> busy_users(const std::string& path, const KernelViews& views = {});

// Who keeps others from opening it alone: owners of flock() locks, and of a block device also mounts and devices on
// top.
[[nodiscard]] std::vector<BusyUser> holders_of(const std::string& path, const KernelViews& views = {});

// "fio (pid 123), /dev/loop3"; empty for nobody.
[[nodiscard]] std::string describe(const std::vector<BusyUser>& users);

}  // namespace remapfs
