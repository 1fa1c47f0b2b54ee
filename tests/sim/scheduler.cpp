// SPDX-License-Identifier: Apache-2.0
#include "sim/scheduler.hpp"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <thread>

#include "remapfs/error.hpp"
#include "support/next_function.hpp"
#include "support/random.hpp"

namespace remapfs::sim {

using testing::Random;
namespace {

// The C library's own functions, behind the ones below that take their place.
#define REMAPFS_REAL(function)         \
  static auto* const real_##function = \
      ::remapfs::testing::next_function(static_cast<decltype(&::function)>(nullptr), #function)

constexpr std::uint64_t kPausesOneIn = 6;  // of the places where a thread could be preempted
constexpr std::int64_t kBillion = 1'000'000'000;

std::atomic<bool> time_is_simulated{false};
std::atomic<std::int64_t> now_ns{0};
thread_local bool may_create_threads = false;

std::int64_t nanoseconds_of(const timespec& time) { return time.tv_sec * kBillion + time.tv_nsec; }

}  // namespace

// The standard one yields while it waits, which is interposed here.
class Semaphore {
 public:
  Semaphore() { ::sem_init(&semaphore_, 0, 0); }
  ~Semaphore() { ::sem_destroy(&semaphore_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  void release() { ::sem_post(&semaphore_); }
  void acquire() {
    while (::sem_wait(&semaphore_) != 0) {
    }
  }

 private:
  sem_t semaphore_;
};

struct Scheduler::Task {
  explicit Task(Core& in) : core(in) {}
  Core& core;
  Semaphore go;
  const void* waits_for = nullptr;          // a mutex or condition variable
  std::optional<std::int64_t> wakes_at_ns;  // of simulated time
  bool ended = false;
  std::thread thread;

  [[nodiscard]] bool can_run(std::int64_t now) const {
    return wakes_at_ns ? *wakes_at_ns <= now : waits_for == nullptr;
  }
};

namespace {
thread_local Scheduler::Task* self = nullptr;
}  // namespace

class Scheduler::Core {
 public:
  explicit Core(std::uint64_t seed) : random_(seed) {}

  void run(std::vector<std::function<void()>> bodies) {
    for (auto& body : bodies) {
      Task& task = *tasks_.emplace_back(std::make_unique<Task>(*this));
      may_create_threads = true;
      task.thread = std::thread([this, &task, body = std::move(body)] {
        task.go.acquire();
        self = &task;
        body();
        self = nullptr;
        task.ended = true;
        one_ended_.release();
      });
      may_create_threads = false;
    }
    while (Task* const next = choose()) {
      next->go.release();
      one_ended_.acquire();
      // What a thread does when it ends, it does before anybody else goes on.
      for (const auto& task : tasks_) {
        if (task->ended && task->thread.joinable()) task->thread.join();
      }
    }
    tasks_.clear();
  }

  // Somebody who can run goes on; returns when it is the task's turn again.
  void pause(Task& task) {
    Task* const next = choose();
    if (next == &task) return;
    next->go.release();
    task.go.acquire();
  }
  void maybe_pause(Task& task) {
    if (random_.one_in(kPausesOneIn)) pause(task);
  }

  // Waits until wake() is called for what it waits for, or until the time has come. True: it was woken.
  bool wait(Task& task, const void* what, std::optional<std::int64_t> until_ns) {
    task.waits_for = what;
    task.wakes_at_ns = until_ns;
    pause(task);
    const bool woken = task.waits_for == nullptr;
    task.waits_for = nullptr;
    task.wakes_at_ns.reset();
    return woken;
  }

  void wake(const void* what, bool all) {
    std::vector<Task*> waiting;
    for (const auto& task : tasks_) {
      if (!task->ended && task->waits_for == what) waiting.push_back(task.get());
    }
    if (waiting.empty()) return;
    if (!all) waiting = {waiting[random_.below(waiting.size())]};
    for (Task* const task : waiting) {
      task->waits_for = nullptr;
      task->wakes_at_ns.reset();
    }
  }

 private:
  Task* choose() {
    std::vector<Task*> able;
    Task* sleeper = nullptr;
    bool all_ended = true;
    for (const auto& task : tasks_) {
      all_ended = all_ended && task->ended;
      if (task->ended) continue;
      if (task->can_run(now_ns)) able.push_back(task.get());
      if (task->wakes_at_ns && (sleeper == nullptr || *task->wakes_at_ns < *sleeper->wakes_at_ns)) sleeper = task.get();
    }
    if (!able.empty()) return able[random_.below(able.size())];
    if (all_ended) return nullptr;
    REMAPFS_INVARIANT(sleeper != nullptr && "every thread of the simulation waits for another one");
    now_ns = std::max(now_ns.load(), *sleeper->wakes_at_ns);
    return sleeper;
  }

  Random random_;
  std::vector<std::unique_ptr<Task>> tasks_;
  Semaphore one_ended_;
};

Scheduler::Scheduler(std::uint64_t seed) : core_(std::make_unique<Core>(seed)) {}
Scheduler::~Scheduler() = default;
void Scheduler::run(std::vector<std::function<void()>> bodies) { core_->run(std::move(bodies)); }

void pause_here() {
  if (self != nullptr) self->core.pause(*self);
}

SimulatedTime::SimulatedTime() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  now_ns = nanoseconds_of(time);
  time_is_simulated = true;
}
SimulatedTime::~SimulatedTime() { time_is_simulated = false; }
void SimulatedTime::advance(std::chrono::nanoseconds by) { now_ns += by.count(); }

namespace {

int lock(pthread_mutex_t* mutex) {
  REMAPFS_REAL(pthread_mutex_trylock);
  self->core.maybe_pause(*self);
  int result = real_pthread_mutex_trylock(mutex);
  while (result == EBUSY) {
    self->core.wait(*self, mutex, std::nullopt);
    result = real_pthread_mutex_trylock(mutex);
  }
  return result;
}

int unlock(pthread_mutex_t* mutex) {
  REMAPFS_REAL(pthread_mutex_unlock);
  const int result = real_pthread_mutex_unlock(mutex);
  self->core.wake(mutex, true);
  return result;
}

int wait(pthread_cond_t* condition, pthread_mutex_t* mutex, std::optional<std::int64_t> until_ns) {
  unlock(mutex);
  const bool woken = self->core.wait(*self, condition, until_ns);
  lock(mutex);
  return woken ? 0 : ETIMEDOUT;
}

int sleep_until(std::int64_t until_ns) {
  if (self != nullptr) {
    self->core.wait(*self, nullptr, until_ns);
  } else {
    now_ns = std::max(now_ns.load(), until_ns);
  }
  return 0;
}

}  // namespace
}  // namespace remapfs::sim

// --- What takes the place of the C library's functions, for threads of a running Scheduler. ---

using remapfs::sim::self;

extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  REMAPFS_REAL(pthread_mutex_lock);
  return self == nullptr ? real_pthread_mutex_lock(mutex) : remapfs::sim::lock(mutex);
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  REMAPFS_REAL(pthread_mutex_unlock);
  if (self == nullptr) return real_pthread_mutex_unlock(mutex);
  const int result = remapfs::sim::unlock(mutex);
  self->core.maybe_pause(*self);
  return result;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  REMAPFS_REAL(pthread_cond_wait);
  return self == nullptr ? real_pthread_cond_wait(condition, mutex)
                         : remapfs::sim::wait(condition, mutex, std::nullopt);
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  REMAPFS_REAL(pthread_cond_clockwait);
  if (self == nullptr) return real_pthread_cond_clockwait(condition, mutex, clock, until);
  REMAPFS_INVARIANT(clock == CLOCK_MONOTONIC);
  return remapfs::sim::wait(condition, mutex, remapfs::sim::nanoseconds_of(*until));
}

int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  REMAPFS_REAL(pthread_cond_signal);
  if (self == nullptr) return real_pthread_cond_signal(condition);
  self->core.wake(condition, false);
  return 0;
}

int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  REMAPFS_REAL(pthread_cond_broadcast);
  if (self == nullptr) return real_pthread_cond_broadcast(condition);
  self->core.wake(condition, true);
  return 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  REMAPFS_REAL(pthread_create);
  if (remapfs::sim::time_is_simulated && !remapfs::sim::may_create_threads) return EAGAIN;
  return real_pthread_create(thread, attributes, start, argument);
}

int sched_yield() noexcept {
  REMAPFS_REAL(sched_yield);
  if (self == nullptr) return real_sched_yield();
  self->core.pause(*self);
  return 0;
}

int nanosleep(const timespec* length, timespec* left) {
  REMAPFS_REAL(nanosleep);
  if (!remapfs::sim::time_is_simulated) return real_nanosleep(length, left);
  return remapfs::sim::sleep_until(remapfs::sim::now_ns + remapfs::sim::nanoseconds_of(*length));
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  REMAPFS_REAL(clock_gettime);
  if (clock != CLOCK_MONOTONIC || !remapfs::sim::time_is_simulated) return real_clock_gettime(clock, time);
  const std::int64_t now = remapfs::sim::now_ns;
  *time = {now / remapfs::sim::kBillion, now % remapfs::sim::kBillion};
  return 0;
}

}  // extern "C"
