// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>

#include "remapfs/error.hpp"

namespace remapfs::fuse {

// A ring of io_uring with the memory that its transfers use.
//
// Threads: made and ended by any, used by the one that enabled it.
class Ring {
 public:
  Ring() = default;
  ~Ring() {
    if (made_) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Disabled until the thread that will use it enables it. memory: of the transfers. Errors: unsupported, no_memory.
  Result<void> create(unsigned most_completions, std::span<std::byte> memory) {
    constexpr unsigned kAlways = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
    // Linux 6.1; 5.19; 5.10.
    for (const unsigned flags :
         {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0U}) {
      io_uring_params parameters{};
      parameters.flags = kAlways | flags;
      parameters.cq_entries = most_completions;
      const int refused = io_uring_queue_init_params(kEntries, &ring_, &parameters);
      if (refused == 0) {
        made_ = true;
        // Saves the kernel from looking up pages for every transfer. It counts as locked memory and may be refused.
        const iovec registered{memory.data(), memory.size()};
        fixed_ = io_uring_register_buffers(&ring_, &registered, 1) == 0;
        return {};
      }
      if (refused != -EINVAL) return fail(refused == -ENOMEM ? Errc::no_memory : Errc::unsupported, -refused);
    }
    return fail(Errc::unsupported, EINVAL);
  }
  // For the thread that uses it from now on. By hand: the shared library of liburing 2.3 does not have
  // io_uring_enable_rings().
  void enable() {
    REMAPFS_INVARIANT(::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0);
  }
  [[nodiscard]] io_uring* get() { return &ring_; }
  [[nodiscard]] bool fixed_memory() const { return fixed_; }

 private:
  static constexpr unsigned kEntries = 256;

  io_uring ring_{};
  bool made_ = false;
  bool fixed_ = false;
};

}  // namespace remapfs::fuse
