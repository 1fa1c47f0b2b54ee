// SPDX-License-Identifier: Apache-2.0
#include "io/errno_class.hpp"

#include <cerrno>

namespace remapfs {

Errc classify_errno(int os_errno) noexcept {
  switch (os_errno) {
    case EIO:
    case ENODATA:
    case EILSEQ: return Errc::media;
    case ETIMEDOUT:
    case EREMOTEIO: return Errc::timeout;
    case ENOLINK: return Errc::transport;
    case ENXIO:
    case ENODEV:
    case ENOMEDIUM:  // the drive is there, the disk in it is not
    case ESHUTDOWN:
    case ENOTCONN: return Errc::device_gone;  // the FUSE server below us is gone
    case ENOSPC:
    case EDQUOT: return Errc::no_space;
    case EROFS: return Errc::read_only;
    case EOPNOTSUPP: return Errc::unsupported;
    case ENOMEM: return Errc::no_memory;
    case EINTR: return Errc::interrupted;
    default: return Errc::device_other;
  }
}

Errc classify_open_errno(int os_errno) noexcept {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR: return Errc::not_found;
    case EACCES:
    case EPERM: return Errc::permission;
    case EBUSY:
    case ETXTBSY:
    case EWOULDBLOCK: return Errc::busy;
    case EEXIST: return Errc::exists;
    case EISDIR:
    case EINVAL:
    case ELOOP:
    case ENAMETOOLONG: return Errc::invalid;
    default: return classify_errno(os_errno);
  }
}

}  // namespace remapfs
