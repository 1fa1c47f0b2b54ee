// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "support/next_function.hpp"

// Preloaded into a program under test: a kernel that has no memory for what is handed to a ring, and so takes none of
// it nor looks at what is done, as long as there is a file $REFUSED_RING.

using remapfs::testing::next_function;

namespace {

bool refused() {
  const char* const path = std::getenv("REFUSED_RING");
  return path != nullptr && ::access(path, F_OK) == 0;
}

}  // namespace

extern "C" {

int io_uring_submit_and_get_events(io_uring* ring) {
  static auto* const original = next_function(&io_uring_submit_and_get_events, "io_uring_submit_and_get_events");
  return refused() ? -EAGAIN : original(ring);
}

int io_uring_submit_and_wait_timeout(io_uring* ring, io_uring_cqe** completion, unsigned wanted,
                                     __kernel_timespec* limit, sigset_t* mask) {
  static auto* const original = next_function(&io_uring_submit_and_wait_timeout, "io_uring_submit_and_wait_timeout");
  return refused() ? -EAGAIN : original(ring, completion, wanted, limit, mask);
}

}  // extern "C"
