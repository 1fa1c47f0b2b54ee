// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "io/sysfs.hpp"

namespace remapfs::cli {

// Whether a path, absolute and without links, is this disk, a device over it, or stored on a file system that stands on
// it, over any number of loop devices, partitions and the like. What the disk needs must not: it would wait for itself.
[[nodiscard]] bool stands_on_disk(const std::string& path, const std::string& mount_point, const KernelViews& views);

}  // namespace remapfs::cli
