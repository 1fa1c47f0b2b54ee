// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <thread>
#include <vector>

#include "fuse/engine.hpp"
#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::fuse {

class WorkerCrew;

// While one exists, threads that are started take no signal but faults of their own and the one that wakes workers:
// those that end the program have to reach the thread that waits for them.
class WorkerSignals {
 public:
  WorkerSignals();
  ~WorkerSignals();
  WorkerSignals(const WorkerSignals&) = delete;
  WorkerSignals& operator=(const WorkerSignals&) = delete;

 private:
  sigset_t before_;
};

// What one thread of a crew does.
class Worker {
 public:
  virtual ~Worker() = default;
  // Works until crew.stopping(), or until nothing will ever come again, which it tells the crew. Everything that was
  // begun is complete when it returns.
  virtual void work(WorkerCrew& crew) = 0;

  // Set around system calls that wait: when a signal is of use.
  std::atomic<bool> waiting{false};
};

// Threads that wait in system calls, and how to stop them.
//
// Uses the signal SIGRTMIN+3 to interrupt those calls: the first start() installs an empty handler for it, for good.
// Threads: start() and join() from one thread; request_stop() from any; the others from workers.
class WorkerCrew {
 public:
  // Stops and joins.
  ~WorkerCrew();

  // Returns when all are at work. The workers outlive the crew. Errors: no_memory (threads cannot be made; none runs
  // on).
  Result<void> start(const std::vector<Worker*>& workers);
  void request_stop() EXCLUDES(mutex_);
  // Until every worker has ended. Errors: device_other, a worker could not go on; the others were then stopped too.
  Result<EndReason> join();

  [[nodiscard]] bool stopping() const { return stop_.load(std::memory_order_seq_cst); }
  // A worker found that nothing will ever come again.
  void report_unmounted() { unmounted_.store(true, std::memory_order_relaxed); }
  // A worker cannot go on. Not known to happen. What is wrong with one descriptor of a connection is wrong with the
  // others: all end and join() says why, rather than that ever fewer go on.
  void report_failure(int os_errno);

 private:
  void run(Worker& worker);
  void wait_until_ended() EXCLUDES(mutex_);

  std::vector<Worker*> workers_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> unmounted_{false};
  std::atomic<int> failure_{0};
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t at_work_ GUARDED_BY(mutex_) = 0;
  std::size_t ended_ GUARDED_BY(mutex_) = 0;
};

}  // namespace remapfs::fuse
