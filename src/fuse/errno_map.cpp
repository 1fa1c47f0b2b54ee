// SPDX-License-Identifier: Apache-2.0
#include "fuse/errno_map.hpp"

#include <cerrno>

namespace remapfs::fuse {

int errno_for_caller(Errc code) noexcept {
  // No default: a new kind of failure must be decided here, or the compiler refuses.
  switch (code) {
    case Errc::media:
    case Errc::timeout:
    case Errc::transport:
    case Errc::device_gone:
    case Errc::device_other: return EIO;
    case Errc::no_space: return ENOSPC;
    case Errc::read_only: return EROFS;
    case Errc::lost:
    case Errc::suspended:
    case Errc::failed:
    case Errc::deadline: return EIO;
    case Errc::past_end: return ENOSPC;
    case Errc::unsupported: return EOPNOTSUPP;
    case Errc::invalid: return EINVAL;
    case Errc::not_found: return ENOENT;
    case Errc::exists: return EEXIST;
    case Errc::busy: return EBUSY;
    case Errc::permission: return EPERM;
    case Errc::foreign:
    case Errc::too_new:
    case Errc::stale:
    case Errc::corrupt:
    case Errc::store:
    case Errc::commit_unknown: return EIO;
    case Errc::no_memory: return ENOMEM;
    case Errc::interrupted: return EINTR;
  }
  return EIO;  // a value outside the enumeration
}

}  // namespace remapfs::fuse
