// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace remapfs::sim {

// Calls of the C library that change what a folder holds, or make it durable, of a program that is linked with
// failing_calls.cpp: fsync, rename, renameat2, flock and mkostemp. Threads: one.
struct FailingCalls {
  std::uint64_t until_failure = 0;  // 1: the next one fails with EIO; 0: none

  bool fails() { return until_failure > 0 && --until_failure == 0; }
};
extern FailingCalls failing_calls;

}  // namespace remapfs::sim
