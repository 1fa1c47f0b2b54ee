// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sim/fails_once.hpp"

namespace remapfs::sim {

// Operator new and aligned_alloc(), of a program that is linked with failing_memory.cpp.
extern FailsOnce cpp_memory;
// SQLite's own, of the same program. False: it was in use before anybody could count.
extern FailsOnce sqlite_memory;
[[nodiscard]] bool sqlite_memory_is_counted();

// While one exists, it is the simulated machine that takes memory, which has enough. Threads: those of one Scheduler,
// or one.
class MachinesMemory {
 public:
  MachinesMemory() { ++inside_; }
  ~MachinesMemory() { --inside_; }
  MachinesMemory(const MachinesMemory&) = delete;
  MachinesMemory& operator=(const MachinesMemory&) = delete;
  [[nodiscard]] static bool is_taken() { return inside_ > 0; }

 private:
  static inline int inside_ = 0;
};

}  // namespace remapfs::sim
