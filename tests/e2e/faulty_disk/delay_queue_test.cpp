// SPDX-License-Identifier: Apache-2.0
#include "delay_queue.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace faulty {
namespace {

using namespace std::chrono_literals;

class Probe : public DelayQueue::Job {
 public:
  Probe(std::promise<void>& done, const std::atomic<bool>& released) : done_(done), released_(released) {}
  void run() override { done_.set_value(); }
  [[nodiscard]] bool released() const override { return released_; }

 private:
  std::promise<void>& done_;
  const std::atomic<bool>& released_;
};

// Runs until it is told to end, as a transfer to a slow image would.
class Blocker : public DelayQueue::Job {
 public:
  explicit Blocker(std::shared_future<void> end) : end_(std::move(end)) {}
  void run() override { end_.wait(); }
  [[nodiscard]] bool released() const override { return false; }

 private:
  std::shared_future<void> end_;
};

bool comes(std::promise<void>& done) { return done.get_future().wait_for(20s) == std::future_status::ready; }

TEST(DelayQueue, JobRunsAfterItsDelayNotBefore) {
  DelayQueue queue(2, [] {});
  std::promise<void> done;
  std::atomic<bool> released{false};
  const auto begin = std::chrono::steady_clock::now();
  queue.push(std::make_unique<Probe>(done, released), 30ms);
  EXPECT_TRUE(comes(done));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
}

TEST(DelayQueue, ShorterDelayOvertakesLongerOne) {
  DelayQueue queue(1, [] {});
  std::promise<void> late;
  std::promise<void> soon;
  std::atomic<bool> released{false};
  queue.push(std::make_unique<Probe>(late, released), 1h);
  queue.push(std::make_unique<Probe>(soon, released), 1ms);
  EXPECT_TRUE(comes(soon));
  EXPECT_EQ(late.get_future().wait_for(0s), std::future_status::timeout);
}

TEST(DelayQueue, BusyThreadDoesNotHoldUpTheNextJob) {
  std::promise<void> end;
  std::promise<void> done;
  std::atomic<bool> released{false};
  DelayQueue queue(2, [] {});
  const std::shared_future<void> ended = end.get_future().share();
  queue.push(std::make_unique<Blocker>(ended), 20ms);
  queue.push(std::make_unique<Probe>(done, released), 40ms);
  EXPECT_TRUE(comes(done));
  end.set_value();
}

TEST(DelayQueue, ReleasedJobRunsAtOnce) {
  DelayQueue queue(1, [] {});
  std::promise<void> first;
  std::promise<void> second;
  std::atomic<bool> first_released{false};
  std::atomic<bool> second_released{false};
  queue.push(std::make_unique<Probe>(first, first_released), 1h);
  queue.push(std::make_unique<Probe>(second, second_released), 1h);
  second_released = true;
  queue.release();
  EXPECT_TRUE(comes(second));
  EXPECT_EQ(first.get_future().wait_for(0s), std::future_status::timeout);
}

TEST(DelayQueue, StopRunsWhatStillWaitsAndWhatComesLater) {
  std::promise<void> waiting;
  std::promise<void> later;
  std::atomic<bool> released{false};
  DelayQueue queue(2, [] {});
  queue.push(std::make_unique<Probe>(waiting, released), 1h);
  queue.stop();
  EXPECT_EQ(waiting.get_future().wait_for(0s), std::future_status::ready);
  queue.push(std::make_unique<Probe>(later, released), 1h);
  EXPECT_EQ(later.get_future().wait_for(0s), std::future_status::ready);
}

}  // namespace
}  // namespace faulty
