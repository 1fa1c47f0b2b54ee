// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <thread>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::fuse {

// Threads that do what may block, first come first served. Allocates nothing for a task.
// Threads: start() and the destructor from one thread; post() from any.
class JobPool {
 public:
  class Task {
   public:
    virtual ~Task() = default;
    // May end the task's life; nobody touches it afterwards.
    virtual void run() noexcept = 0;

   private:
    friend class JobPool;
    Task* next_ = nullptr;
  };

  // Finishes what was posted, then ends the threads.
  ~JobPool();
  // Errors: no_memory (none runs on).
  Result<void> start(unsigned threads);
  // The task stays alive until it has run, and is posted once at a time.
  void post(Task& task) EXCLUDES(mutex_);

 private:
  void serve() EXCLUDES(mutex_);
  void end() EXCLUDES(mutex_);

  std::vector<std::thread> threads_;
  Mutex mutex_;
  std::condition_variable_any posted_;
  Task* first_ GUARDED_BY(mutex_) = nullptr;
  Task* last_ GUARDED_BY(mutex_) = nullptr;
  bool ending_ GUARDED_BY(mutex_) = false;
};

}  // namespace remapfs::fuse
