// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace remapfs::sim {

// Threads of which exactly one runs at any time, and time that passes only when somebody says so.
//
// The blocking calls of the C library (mutexes, condition variables, yielding, sleeping) are interposed by the program
// this is linked into: a thread of a running Scheduler that would block hands over to another one, drawn from the seed.
// So code under test needs no change, and one seed gives one interleaving. A thread that may never go on again ends the
// program with a message.
// Limits: blocking in ways that are not listed above is not seen; no thread may be created by the code under test.
// Threads: one Scheduler runs at a time in a process.
class Scheduler {
 public:
  explicit Scheduler(std::uint64_t seed);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Runs all bodies, each in a thread of its own, until all have returned.
  void run(std::vector<std::function<void()>> bodies);

  struct Task;
  class Core;

 private:
  std::unique_ptr<Core> core_;
};

// A point where a real thread would lose time, as in a device access: others may go on first. Outside a running
// Scheduler, nothing.
void pause_here();

// While it exists, the monotonic clock of the process stands still but for advance() and sleeping, and no thread can be
// created except by a Scheduler: std::thread fails as on a machine that has no resources left.
class SimulatedTime {
 public:
  SimulatedTime();
  ~SimulatedTime();
  SimulatedTime(const SimulatedTime&) = delete;
  SimulatedTime& operator=(const SimulatedTime&) = delete;

  static void advance(std::chrono::nanoseconds by);
};

}  // namespace remapfs::sim
