// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "io/sysfs.hpp"
#include "remapfs/error.hpp"

namespace remapfs {

// A stretch of bytes of a file or whole disk, named so that every path to the same bytes gives the same name.
struct Extent {
  dev_t device = 0;         // of the disk; or of the file system a file is on
  ino_t inode = 0;          // 0: a disk
  std::uint64_t begin = 0;  // half open, in bytes
  std::uint64_t end = 0;

  [[nodiscard]] bool overlaps(const Extent& other) const {
    return device == other.device && inode == other.inode && begin < other.end && other.begin < end;
  }
};

// Everything that a write to the file or device at `path` may change, layer by layer: a partition is a part of its
// disk, a loop device a part of its backing file, a mapped device all of what it is made of.
//
// The file system below a file is not among them. Errors: not_found, permission, invalid.
[[nodiscard]] Result<std::vector<Extent>> member_extents(const std::string& path, const KernelViews& views = {});
[[nodiscard]] std::vector<Extent> device_extents(dev_t device, const KernelViews& views = {});

[[nodiscard]] bool overlap(const std::vector<Extent>& a, const std::vector<Extent>& b);

// Somebody in the kernel who uses bytes of a member.
struct Claim {
  std::string text;    // "mounted on /mnt", "/dev/loop3", "swap", "dm-0"
  std::string advice;  // what to do about it
};

// Mounts, swap, loop devices over it and devices stacked on it. The loop device that a member itself is, or is on, is
// no claim.
[[nodiscard]] std::vector<Claim> kernel_claims(const std::vector<Extent>& member, const KernelViews& views = {});

}  // namespace remapfs
