// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "remapfs/thread_annotations.hpp"

namespace faulty {

// Requests that wait. They hold no thread while they do, so that any number of slow requests leaves the fast ones
// alone.
//
// Threads: all members from any thread; jobs run on the queue's own threads.
class DelayQueue {
 public:
  class Job {
   public:
    virtual ~Job() = default;
    // Called once, after the time has passed or when stop() cuts it short. Must not throw.
    virtual void run() = 0;
    // True when the job need not wait any longer; asked on release().
    [[nodiscard]] virtual bool released() const = 0;
  };

  // enter_thread is called first on each of the threads.
  DelayQueue(unsigned threads, const std::function<void()>& enter_thread);
  ~DelayQueue();
  DelayQueue(const DelayQueue&) = delete;
  DelayQueue& operator=(const DelayQueue&) = delete;

  void push(std::unique_ptr<Job> job, std::chrono::nanoseconds delay) EXCLUDES(mutex_);
  // Runs the jobs that say they are released.
  void release() EXCLUDES(mutex_);
  // Runs everything that still waits, at once, and ends the threads. Jobs pushed later run in push().
  void stop() EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  void serve() EXCLUDES(mutex_);
  [[nodiscard]] std::unique_ptr<Job> next() EXCLUDES(mutex_);

  remapfs::Mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<Clock::time_point, std::unique_ptr<Job>> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace faulty
