// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "remapfs/error.hpp"

namespace remapfs {

// What an errno of a transfer, sync, discard or seek on an open device says about the device.
//
// Only EIO, ENODATA and EILSEQ are media errors; what is not known here is device_other, which never makes an entry.
// Source: blk_errors[] in block/blk-core.c of Linux 6.12 (BLK_STS_MEDIUM is ENODATA, BLK_STS_PROTECTION EILSEQ,
//   BLK_STS_TRANSPORT ENOLINK, BLK_STS_TARGET EREMOTEIO, BLK_STS_OFFLINE ENODEV).
[[nodiscard]] Errc classify_errno(int os_errno) noexcept;

// What an errno of open(), stat() and the like on a path says: not_found, permission, busy, read_only, no_memory, ...
// Everything else is as classify_errno() has it.
[[nodiscard]] Errc classify_open_errno(int os_errno) noexcept;

// fail() for a transfer: no message, no allocation.
[[nodiscard]] inline tl::unexpected<Error> device_failure(int os_errno) {
  return fail(classify_errno(os_errno), os_errno);
}

}  // namespace remapfs
