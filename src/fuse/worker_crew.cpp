// SPDX-License-Identifier: Apache-2.0
#include "fuse/worker_crew.hpp"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <system_error>

namespace remapfs::fuse {

namespace {

// Between two signals to a worker that is about to wait: long enough to cost nothing, short enough not to be noticed.
constexpr std::chrono::milliseconds kSignalInterval{2};

int wake_signal() { return SIGRTMIN + 3; }

void install_wake_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: the call has to come back
  ::sigaction(wake_signal(), &action, nullptr);
}

}  // namespace

// Threads inherit the mask, so that no signal meant for others can reach one before it sets its own.
WorkerSignals::WorkerSignals() {
  sigset_t mask;
  sigfillset(&mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, wake_signal()}) {
    sigdelset(&mask, signal);
  }
  pthread_sigmask(SIG_SETMASK, &mask, &before_);
}

WorkerSignals::~WorkerSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

WorkerCrew::~WorkerCrew() {
  request_stop();
  static_cast<void>(join());
}

Result<void> WorkerCrew::start(const std::vector<Worker*>& workers) {
  install_wake_handler();
  workers_ = workers;
  threads_.reserve(workers_.size());
  try {
    const WorkerSignals masked;
    for (Worker* worker : workers_) threads_.emplace_back(&WorkerCrew::run, this, std::ref(*worker));
  } catch (const std::system_error& error) {
    request_stop();
    static_cast<void>(join());
    return fail(Errc::no_memory, "worker threads cannot be started", error.code().value());
  }
  MutexLock lock(mutex_);
  while (at_work_ < threads_.size()) changed_.wait(lock);
  return {};
}

void WorkerCrew::request_stop() {
  stop_.store(true, std::memory_order_seq_cst);
  const MutexLock lock(mutex_);
  changed_.notify_all();
}

void WorkerCrew::report_failure(int os_errno) {
  int none = 0;
  failure_.compare_exchange_strong(none, os_errno, std::memory_order_relaxed);
  request_stop();
}

void WorkerCrew::run(Worker& worker) {
  {
    const MutexLock lock(mutex_);
    ++at_work_;
    changed_.notify_all();
  }
  worker.work(*this);
  const MutexLock lock(mutex_);
  ++ended_;
  changed_.notify_all();
}

Result<EndReason> WorkerCrew::join() {
  wait_until_ended();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  if (const int error = failure_.load(std::memory_order_relaxed); error != 0) {
    return fail(Errc::device_other, "cannot read from /dev/fuse", error);
  }
  return unmounted_.load(std::memory_order_relaxed) ? EndReason::unmounted : EndReason::stopped;
}

// A signal that arrives between a worker's look at stopping() and its system call is lost on it. So signals are
// repeated until the worker has ended; only workers that are about to wait, or waiting, get one.
void WorkerCrew::wait_until_ended() {
  MutexLock lock(mutex_);
  while (ended_ < threads_.size()) {
    if (!stopping()) {
      changed_.wait(lock);
      continue;
    }
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (workers_[i]->waiting.load(std::memory_order_acquire)) {
        pthread_kill(threads_[i].native_handle(), wake_signal());
      }
    }
    changed_.wait_for(lock, kSignalInterval);
  }
}

}  // namespace remapfs::fuse
