// SPDX-License-Identifier: Apache-2.0
#include "fuse/job_pool.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <functional>
#include <latch>

namespace remapfs::fuse {
namespace {

struct CountingTask final : JobPool::Task {
  std::function<void()> body;
  void run() noexcept override { body(); }
};

TEST(JobPool, RunsEveryTaskOnceAndFinishesThemBeforeItEnds) {
  std::vector<CountingTask> tasks(1000);
  std::vector<std::atomic<int>> runs(tasks.size());
  {
    JobPool pool;
    ASSERT_TRUE(pool.start(4));
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      tasks[i].body = [&runs, i] { ++runs[i]; };
      pool.post(tasks[i]);
    }
  }
  for (const auto& count : runs) EXPECT_EQ(count, 1);
}

TEST(JobPool, TasksRunBesideEachOther) {
  JobPool pool;
  ASSERT_TRUE(pool.start(3));
  std::latch all(3);
  std::vector<CountingTask> tasks(3);
  for (CountingTask& task : tasks) {
    task.body = [&all] { all.arrive_and_wait(); };
    pool.post(task);
  }
  all.wait();
}

TEST(JobPool, TaskMayBePostedAgainAsItRuns) {
  std::atomic<int> runs = 0;
  CountingTask task;
  std::latch done(1);
  JobPool pool;
  ASSERT_TRUE(pool.start(2));
  task.body = [&] { ++runs == 100 ? done.count_down() : pool.post(task); };
  pool.post(task);
  done.wait();
  EXPECT_EQ(runs, 100);
}

TEST(JobPool, ThreadsTakeNoSignalThatEndsTheProgram) {
  JobPool pool;
  ASSERT_TRUE(pool.start(1));
  CountingTask task;
  std::latch done(1);
  bool blocked = false;
  task.body = [&] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
    done.count_down();
  };
  pool.post(task);
  done.wait();
  EXPECT_TRUE(blocked);
}

}  // namespace
}  // namespace remapfs::fuse
