// SPDX-License-Identifier: Apache-2.0
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "support/next_function.hpp"

// Preloaded into a program under test: a kernel before Linux 6.9, which does not offer in FUSE_INIT to send requests
// again (FUSE_HAS_RESEND) and does not know that notice (FUSE_NOTIFY_RESEND).

namespace {

constexpr std::uint32_t kHasResend = 1U << (39 - 32);
constexpr std::int32_t kNotifyResend = 7;

bool is_fuse(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(10, 229);
}

}  // namespace

extern "C" ssize_t read(int fd, void* buffer, std::size_t size) {
  static auto* const real = remapfs::testing::next_function(&::read, "read");
  const ssize_t length = real(fd, buffer, size);
  fuse_in_header header{};
  fuse_init_in init{};
  if (length != sizeof header + sizeof init || !is_fuse(fd)) return length;
  std::memcpy(&header, buffer, sizeof header);
  if (header.opcode != FUSE_INIT) return length;
  auto* const arguments = static_cast<char*>(buffer) + sizeof header;
  std::memcpy(&init, arguments, sizeof init);
  init.flags2 &= ~kHasResend;
  std::memcpy(arguments, &init, sizeof init);
  return length;
}

extern "C" ssize_t write(int fd, const void* buffer, std::size_t size) {
  static auto* const real = remapfs::testing::next_function(&::write, "write");
  fuse_out_header header{};
  if (size == sizeof header && is_fuse(fd)) {
    std::memcpy(&header, buffer, sizeof header);
    if (header.unique == 0 && header.error == kNotifyResend) {
      errno = EINVAL;
      return -1;
    }
  }
  return real(fd, buffer, size);
}
