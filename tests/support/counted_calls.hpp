// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace remapfs::testing {

// How often each of some processes asked for memory, and how often its program (not the libraries it uses) for a lock.
struct CountedCalls {
  struct Process {
    std::atomic<pid_t> process;
    std::atomic<std::uint64_t> memory;
    std::atomic<std::uint64_t> locks;
  };
  std::array<Process, 4096> processes;

  // Of this process; null when it never called.
  [[nodiscard]] const Process* of(pid_t process) const {
    for (const Process& one : processes) {
      if (one.process == process) return &one;
    }
    return nullptr;
  }
};

}  // namespace remapfs::testing
