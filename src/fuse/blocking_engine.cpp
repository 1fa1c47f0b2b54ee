// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include "fuse/engine.hpp"
#include "fuse/worker_crew.hpp"

namespace remapfs::fuse {

namespace {

// Takes one request, carries it out, takes the next.
class BlockingWorker final : public Worker, private JobRunner {
 public:
  BlockingWorker(std::unique_ptr<Session> session, PageBuffer room)
      : session_(std::move(session)), room_(std::move(room)) {
    session_->set_runner(*this);
  }

  void work(WorkerCrew& crew) override {
    while (!crew.stopping()) {
      waiting.store(true, std::memory_order_seq_cst);
      const Session::Received received = session_->receive(room_.bytes());
      if (received == Session::Received::nothing) {
        // Whoever handed us the descriptor made it non-blocking.
        pollfd ready{session_->descriptor(), POLLIN, 0};
        static_cast<void>(::poll(&ready, 1, -1));
      }
      waiting.store(false, std::memory_order_release);
      if (received == Session::Received::request) session_->process();
      if (received == Session::Received::unmounted) return crew.report_unmounted();
      if (received == Session::Received::failed) return crew.report_failure(session_->last_errno());
    }
  }

 private:
  void run(const Job& job) override { perform(job); }

  std::unique_ptr<Session> session_;
  PageBuffer room_;
};

class BlockingEngine final : public Engine {
 public:
  explicit BlockingEngine(std::vector<std::unique_ptr<BlockingWorker>> workers) : workers_(std::move(workers)) {}

  [[nodiscard]] std::string_view name() const override { return "blocking"; }
  [[nodiscard]] unsigned workers() const override { return static_cast<unsigned>(workers_.size()); }
  Result<void> start() override {
    std::vector<Worker*> all;
    for (const auto& worker : workers_) all.push_back(worker.get());
    return crew_.start(all);
  }
  void request_stop() override { crew_.request_stop(); }
  Result<EndReason> wait() override { return crew_.join(); }

 private:
  std::vector<std::unique_ptr<BlockingWorker>> workers_;
  WorkerCrew crew_;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_blocking_engine(std::vector<std::unique_ptr<Session>> sessions) {
  std::vector<std::unique_ptr<BlockingWorker>> workers;
  for (auto& session : sessions) {
    auto room = PageBuffer::allocate(request_room());
    if (!room) return fail(room.error());
    workers.push_back(std::make_unique<BlockingWorker>(std::move(session), std::move(*room)));
  }
  return std::make_unique<BlockingEngine>(std::move(workers));
}

}  // namespace remapfs::fuse
