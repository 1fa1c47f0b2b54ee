// SPDX-License-Identifier: Apache-2.0
#include "fuse/job_pool.hpp"

#include <system_error>

#include "fuse/worker_crew.hpp"

namespace remapfs::fuse {

JobPool::~JobPool() { end(); }

Result<void> JobPool::start(unsigned threads) {
  const WorkerSignals masked;
  try {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back(&JobPool::serve, this);
  } catch (const std::system_error& error) {
    end();
    return fail(Errc::no_memory, "threads cannot be started", error.code().value());
  }
  return {};
}

void JobPool::end() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  posted_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void JobPool::post(Task& task) {
  task.next_ = nullptr;
  {
    const MutexLock lock(mutex_);
    (first_ == nullptr ? first_ : last_->next_) = &task;
    last_ = &task;
  }
  posted_.notify_one();
}

void JobPool::serve() {
  for (;;) {
    Task* task = nullptr;
    {
      MutexLock lock(mutex_);
      while (first_ == nullptr && !ending_) posted_.wait(lock);
      if (first_ == nullptr) return;
      task = first_;
      first_ = task->next_;
    }
    task->run();
  }
}

}  // namespace remapfs::fuse
