// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "remapfs/error.hpp"

namespace faulty {

// Unmounts in order, never lazily: a disk must not vanish from under its users.
// Errors: busy, naming the users it can find; permission; not_found.
[[nodiscard]] remapfs::Result<void> unmount_in_order(const std::string& mount_point);

// Who uses files below the mount point, for people: "/dev/loop3", "fio (pid 4711)".
[[nodiscard]] std::vector<std::string> users_of(const std::string& mount_point);

}  // namespace faulty
