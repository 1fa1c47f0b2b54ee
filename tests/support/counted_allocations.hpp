// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace remapfs::testing {

// How often each of some processes asked for memory.
struct CountedAllocations {
  struct Process {
    std::atomic<pid_t> process;
    std::atomic<std::uint64_t> count;
  };
  std::array<Process, 4096> processes;

  // Of this process; 0 when it never did.
  [[nodiscard]] std::uint64_t of(pid_t process) const {
    for (const Process& one : processes) {
      if (one.process == process) return one.count;
    }
    return 0;
  }
};

}  // namespace remapfs::testing
