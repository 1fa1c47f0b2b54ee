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

  struct Of {
    std::uint64_t memory = 0;
    std::uint64_t locks = 0;
  };
  // Of this process.
  [[nodiscard]] Of of(pid_t process) const {
    for (const Process& one : processes) {
      if (one.process == process) return {one.memory, one.locks};
    }
    return {};
  }
};

}  // namespace remapfs::testing
