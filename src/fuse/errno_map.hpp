// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "remapfs/error.hpp"

namespace remapfs::fuse {

// The errno a caller of the virtual disk gets for a failure. Never 0 and never ENOSYS: the kernel takes ENOSYS to mean
// "do not ask again" and from then on answers FSYNC with success by itself (fuse_fsync, Linux 6.18).
//
// Whatever is wrong with data or devices is EIO: file systems on the disk know what to do with it, while XFS takes
// ENODATA for "no such attribute". Cost: a table lookup.
[[nodiscard]] int errno_for_caller(Errc code) noexcept;

}  // namespace remapfs::fuse
