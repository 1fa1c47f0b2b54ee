// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <system_error>
#include <thread>

#include "fuse/engine.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::fuse {

namespace {

// Between two signals to a worker that is about to read: long enough to cost nothing, short enough not to be noticed.
constexpr std::chrono::milliseconds kSignalInterval{2};

int wake_signal() { return SIGRTMIN + 3; }

void install_wake_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: read(2) has to come back
  ::sigaction(wake_signal(), &action, nullptr);
}

// The mask of worker threads: faults of their own and the wake signal get through.
sigset_t worker_mask() {
  sigset_t mask;
  sigfillset(&mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, wake_signal()}) {
    sigdelset(&mask, signal);
  }
  return mask;
}

class BlockingEngine final : public Engine {
 public:
  explicit BlockingEngine(std::vector<std::unique_ptr<Session>> sessions) : sessions_(std::move(sessions)) {}
  ~BlockingEngine() override {
    request_stop();
    static_cast<void>(join_all());
  }

  [[nodiscard]] std::string_view name() const override { return "blocking"; }

  Result<void> start() override {
    install_wake_handler();
    // Threads inherit the mask, so that no signal meant for others can reach a worker before it sets its own.
    const sigset_t mask = worker_mask();
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int refused = 0;
    threads_.reserve(sessions_.size());
    try {
      for (const auto& session : sessions_) threads_.emplace_back(&BlockingEngine::serve, this, std::ref(*session));
    } catch (const std::system_error& error) {
      refused = error.code().value();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (refused != 0) {
      request_stop();
      static_cast<void>(join_all());
      return fail(Errc::no_memory, "worker threads cannot be started", refused);
    }
    MutexLock lock(mutex_);
    while (at_work_ < threads_.size()) changed_.wait(lock);
    return {};
  }

  void request_stop() override {
    stop_.store(true, std::memory_order_seq_cst);
    MutexLock lock(mutex_);
    changed_.notify_all();
  }

  Result<EndReason> wait() override { return join_all(); }

 private:
  void serve(Session& session) {
    {
      MutexLock lock(mutex_);
      ++at_work_;
      changed_.notify_all();
    }
    while (!stop_.load(std::memory_order_seq_cst)) {
      const Session::Received received = session.receive();
      if (received == Session::Received::request) {
        session.process();
      } else if (received == Session::Received::unmounted) {
        unmounted_.store(true, std::memory_order_relaxed);
        break;
      } else if (received == Session::Received::failed) {
        // Not known to happen. What is wrong with one descriptor of a connection is wrong with the others: end all
        // and let wait() say why, rather than go on with ever fewer workers.
        int none = 0;
        failure_.compare_exchange_strong(none, session.last_errno(), std::memory_order_relaxed);
        stop_.store(true, std::memory_order_seq_cst);
        break;
      }
    }
    MutexLock lock(mutex_);
    ++ended_;
    changed_.notify_all();
  }

  Result<EndReason> join_all() {
    wait_until_ended();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    if (const int error = failure_.load(std::memory_order_relaxed); error != 0) {
      return fail(Errc::device_other, "cannot read from /dev/fuse", error);
    }
    return unmounted_.load(std::memory_order_relaxed) ? EndReason::unmounted : EndReason::stopped;
  }

  // A signal that arrives between a worker's look at stop_ and its read(2) is lost on it. So signals are repeated
  // until the worker has ended; only workers that are about to read, or reading, get one.
  void wait_until_ended() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (ended_ < threads_.size()) {
      if (!stop_.load(std::memory_order_seq_cst)) {
        changed_.wait(lock);
        continue;
      }
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (sessions_[i]->receiving()) pthread_kill(threads_[i].native_handle(), wake_signal());
      }
      changed_.wait_for(lock, kSignalInterval);
    }
  }

  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> unmounted_{false};
  std::atomic<int> failure_{0};
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t at_work_ GUARDED_BY(mutex_) = 0;
  std::size_t ended_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<Engine> make_blocking_engine(std::vector<std::unique_ptr<Session>> sessions) {
  return std::make_unique<BlockingEngine>(std::move(sessions));
}

}  // namespace remapfs::fuse
