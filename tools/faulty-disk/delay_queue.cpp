// SPDX-License-Identifier: Apache-2.0
#include "delay_queue.hpp"

#include <utility>

namespace faulty {

DelayQueue::DelayQueue(unsigned threads, const std::function<void()>& enter_thread) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, enter_thread] {
      enter_thread();
      serve();
    });
  }
}

DelayQueue::~DelayQueue() { stop(); }

void DelayQueue::push(std::unique_ptr<Job> job, std::chrono::nanoseconds delay) {
  {
    const remapfs::MutexLock lock(mutex_);
    if (!stopping_) {
      waiting_.emplace(Clock::now() + delay, std::move(job));
      changed_.notify_one();
      return;
    }
  }
  job->run();
}

void DelayQueue::release() {
  const remapfs::MutexLock lock(mutex_);
  std::vector<std::unique_ptr<Job>> released;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (!at->second->released()) {
      ++at;
      continue;
    }
    released.push_back(std::move(at->second));
    at = waiting_.erase(at);
  }
  for (auto& job : released) waiting_.emplace(Clock::time_point::min(), std::move(job));
  changed_.notify_all();
}

void DelayQueue::stop() {
  {
    const remapfs::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

// The next job that is due; null when there will be none.
std::unique_ptr<DelayQueue::Job> DelayQueue::next() {
  remapfs::MutexLock lock(mutex_);
  while (true) {
    if (waiting_.empty()) {
      if (stopping_) return nullptr;
      changed_.wait(lock);
      continue;
    }
    const auto first = waiting_.begin();
    if (!stopping_ && first->first > Clock::now()) {
      // A copy: the entry may be gone when the wait ends.
      const Clock::time_point due = first->first;
      changed_.wait_until(lock, due);
      continue;
    }
    std::unique_ptr<Job> job = std::move(first->second);
    waiting_.erase(first);
    // Somebody else must watch the next one while this thread is busy.
    if (!waiting_.empty()) changed_.notify_one();
    return job;
  }
}

void DelayQueue::serve() {
  while (const std::unique_ptr<Job> job = next()) job->run();
}

}  // namespace faulty
