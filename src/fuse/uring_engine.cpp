// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "fuse/batch_size.hpp"
#include "fuse/engine.hpp"
#include "fuse/job_pool.hpp"
#include "fuse/page_arena.hpp"
#include "fuse/ring.hpp"
#include "fuse/worker_crew.hpp"

// Every worker has a ring, in which its transfers are in flight, and two descriptors of the connection. One is read
// without waiting, whenever the worker comes by, and polled while it waits for transfers; the other blocks, and is read
// while nothing is in flight: at depth 1 a request then costs what it costs a blocking worker, and a look at the first
// descriptor, where those are that came together with it.
//
// A worker never blocks on anything but these: what may is done by the pool. So a worker is always there to end the
// accesses that whoever holds a block is waiting for.

namespace remapfs::fuse {

namespace {

// Of each worker, for requests on the way; and of all together, for what waits elsewhere: as much of the largest
// requests as a volume has working memory for.
constexpr std::size_t kArenaBytes = std::size_t{8} << 20U;
constexpr std::size_t kWaitingBytes = std::size_t{18} << 20U;
// Requests that a worker has in hand; of all workers together, fewer than a volume lets in.
constexpr unsigned kMostSlots = 128;
constexpr unsigned kMostSlotsOfAll = 400;
constexpr unsigned kPoolThreads = 32;
// Payload of the requests that are taken before their transfers are handed to the kernel, about.
constexpr std::uint64_t kBatchBytes = std::uint64_t{1} << 20U;
// liburing's own are the last ones.
constexpr std::uint64_t kPollTag = std::uint64_t{1} << 62U;
constexpr std::uint64_t kCancelTag = kPollTag + 1;

constexpr __kernel_timespec kLookAgain{0, 1'000'000};
constexpr std::chrono::milliseconds kPauseAfterRefusal{1};

class UringWorker final : public Worker, private JobRunner {
 public:
  UringWorker(VirtualDisk& disk, JobPool& pool, PageArena arena, unsigned slots)
      : disk_(disk), pool_(pool), arena_(std::move(arena)), slots_(slots) {
    free_.reserve(slots);
    elsewhere_.reserve(slots);
    for (Slot& slot : slots_) {
      slot.owner = this;
      free_.push_back(&slot);
    }
  }

  // Errors: unsupported, no_memory.
  Result<void> create_ring() {
    return ring_.create(static_cast<unsigned>(slots_.size() * DirectAccess::kMostParts + 1), arena_.bytes());
  }
  void adopt(std::unique_ptr<Session> patient, std::unique_ptr<Session> passing) {
    patient_ = std::move(patient);
    passing_ = std::move(passing);
    patient_->set_runner(*this);
    passing_->set_runner(*this);
  }

  void work(WorkerCrew& crew) override {
    ring_.enable();
    while (!crew.stopping() && turn(crew)) {
    }
    while (in_flight_ > 0 || poll_armed_) {
      if (poll_armed_ && !poll_cancelled_) cancel_poll();
      submit_and_wait(nullptr);
      reap();
    }
    while (!elsewhere_.empty()) wait_for_return();
  }

 private:
  // A request in hand.
  struct Slot final : JobPool::Task {
    enum class Next : std::uint8_t { perform, recover };

    UringWorker* owner = nullptr;
    Job job;
    DirectAccess access;
    unsigned pending = 0;  // transfers in flight
    PageArena::Area area;
    Next next = Next::perform;  // for the pool
    std::atomic<bool> returned{false};

    void run() noexcept override { owner->run_elsewhere(*this); }
  };

  [[nodiscard]] bool can_take() { return !free_.empty() && !arena_.room().empty(); }
  // Before this batch goes to the kernel.
  [[nodiscard]] bool may_take_more() {
    return can_take() && taken_bytes_ < kBatchBytes && io_uring_sq_space_left(ring_.get()) >= DirectAccess::kMostParts;
  }

  // Takes requests, hands their transfers to the kernel and answers those that are done. False: nothing comes any more.
  bool turn(WorkerCrew& crew) {
    take_back();
    taken_bytes_ = 0;
    unsigned taken = 0;
    if (in_flight_ == 0) {
      if (!can_take()) {
        wait_for_return();
        return true;
      }
      waiting.store(true, std::memory_order_seq_cst);
      if (crew.stopping()) return false;
      const Session::Received received = take(*patient_);
      if (ended(crew, *patient_, received)) return false;
      if (in_flight_ == 0) return true;
      take_back();  // it may have been a long wait
      taken = 1;
    }
    bool nothing_waits = false;
    for (; taken < batch_.get() && may_take_more() && !nothing_waits; ++taken) {
      const Session::Received received = take(*passing_);
      if (ended(crew, *passing_, received)) return false;
      nothing_waits = received == Session::Received::nothing;
    }
    submit(nothing_waits);
    return true;
  }

  Session::Received take(Session& session) {
    const Session::Received received = session.receive(arena_.room());
    waiting.store(false, std::memory_order_release);
    if (received == Session::Received::request) session.process();
    return received;
  }

  static bool ended(WorkerCrew& crew, const Session& session, Session::Received received) {
    if (received == Session::Received::unmounted) crew.report_unmounted();
    if (received == Session::Received::failed) crew.report_failure(session.last_errno());
    return received == Session::Received::unmounted || received == Session::Received::failed;
  }

  void run(const Job& job) override {
    Slot& slot = *free_.back();
    free_.pop_back();
    slot.job = job;
    slot.area = {};
    if (job.is_transfer()) {
      slot.area = arena_.take(payload_offset() + job.range.size().value());
      taken_bytes_ += job.range.size().value();
      if (disk_.begin(slot.access, job.range, job.memory, job.kind == Job::Kind::write)) return start(slot);
    }
    send_elsewhere(slot, Slot::Next::perform);
  }

  void start(Slot& slot) {
    slot.pending = static_cast<unsigned>(slot.access.count);
    ++in_flight_;
    const auto index = static_cast<std::uint64_t>(&slot - slots_.data());
    for (std::size_t i = 0; i < slot.access.count; ++i) {
      const DirectAccess::Part& part = slot.access.parts[i];
      io_uring_sqe* const entry = next_entry();
      std::byte* const memory = slot.job.memory + distance(slot.job.range.begin, part.range.begin).value();
      const auto size = static_cast<unsigned>(part.range.size().value());
      if (slot.access.write) {
        ring_.fixed_memory() ? io_uring_prep_write_fixed(entry, part.descriptor, memory, size, part.native.value(), 0)
                             : io_uring_prep_write(entry, part.descriptor, memory, size, part.native.value());
      } else {
        ring_.fixed_memory() ? io_uring_prep_read_fixed(entry, part.descriptor, memory, size, part.native.value(), 0)
                             : io_uring_prep_read(entry, part.descriptor, memory, size, part.native.value());
      }
      io_uring_sqe_set_data64(entry, index * DirectAccess::kMostParts + i);
    }
  }

  io_uring_sqe* next_entry() {
    for (;;) {
      if (io_uring_sqe* const entry = io_uring_get_sqe(ring_.get())) return entry;
      note_handover(io_uring_submit_and_get_events(ring_.get()));
    }
  }

  // After each call that hands over what is queued. The kernel refuses that while it has no memory; it stays queued,
  // and goes with the next call. What is done already is seen all the same: answering it may be what frees memory.
  void note_handover(int result) {
    if (result >= 0 || result == -EINTR || result == -ETIME) return;
    REMAPFS_INVARIANT(result == -EAGAIN || result == -EBUSY || result == -ENOMEM);
    io_uring_get_events(ring_.get());
    std::this_thread::sleep_for(kPauseAfterRefusal);
  }

  void submit(bool nothing_waits) {
    // Without room only what comes back helps, from the kernel or from elsewhere.
    const bool full = !can_take();
    if (!nothing_waits && !full) {
      // More requests may be waiting.
      note_handover(io_uring_submit_and_get_events(ring_.get()));
      reap();
      return;
    }
    if (!full && !poll_armed_) arm_poll();
    submit_and_wait(full ? &kLookAgain : nullptr);
    reap();
  }

  // One that is still armed while the blocking descriptor is read is woken, finds the request gone, and waits on.
  void arm_poll() {
    io_uring_sqe* const entry = next_entry();
    io_uring_prep_poll_add(entry, passing_->descriptor(), POLLIN);
    io_uring_sqe_set_data64(entry, kPollTag);
    poll_armed_ = true;
  }

  // A poll that is left armed keeps the connection open for a while. One that somebody has just woken cannot be
  // cancelled (EALREADY), and waits on when another one was faster: then it is asked again.
  void cancel_poll() {
    io_uring_sqe* const entry = next_entry();
    io_uring_prep_poll_remove(entry, kPollTag);
    io_uring_sqe_set_data64(entry, kCancelTag);
    poll_cancelled_ = true;
  }

  void submit_and_wait(const __kernel_timespec* at_most) {
    waiting.store(true, std::memory_order_seq_cst);
    io_uring_cqe* completion = nullptr;
    __kernel_timespec limit{};
    if (at_most != nullptr) limit = *at_most;
    note_handover(
        io_uring_submit_and_wait_timeout(ring_.get(), &completion, 1, at_most != nullptr ? &limit : nullptr, nullptr));
    waiting.store(false, std::memory_order_release);
  }

  // Answers up to a batch of those that are done.
  void reap() {
    batch_.note_in_flight(in_flight_);
    const unsigned before = in_flight_;
    unsigned seen = 0;
    unsigned head = 0;
    io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(ring_.get(), head, completion) {
      ++seen;
      note(completion->user_data, completion->res);
      if (before - in_flight_ == batch_.get()) break;
    }
    io_uring_cq_advance(ring_.get(), seen);
  }

  void note(std::uint64_t tag, int result) {
    if (tag == kPollTag) poll_armed_ = false;
    if (tag == kCancelTag && result != 0) poll_cancelled_ = false;
    if (tag == kPollTag || tag == kCancelTag) return;
    Slot& slot = slots_[tag / DirectAccess::kMostParts];
    DirectAccess::Part& part = slot.access.parts[tag % DirectAccess::kMostParts];
    part.done = result >= 0 && static_cast<std::uint64_t>(result) == part.range.size().value();
    if (result < 0 && result != -EAGAIN && result != -EINTR) part.error = disk_.failure_of(part, -result);
    if (--slot.pending != 0) return;
    --in_flight_;
    if (!disk_.end(slot.access) || slot.job.flush_after) return send_elsewhere(slot, Slot::Next::recover);
    finish_transfer(slot.job, {});
    free(slot);
  }

  void free(Slot& slot) {
    arena_.give_back(slot.area);
    free_.push_back(&slot);
  }

  void send_elsewhere(Slot& slot, Slot::Next next) {
    if (slot.area.count > 0) {
      const auto header = static_cast<std::uint32_t>(
          static_cast<std::size_t>(slot.job.memory - arena_.begin_of(slot.area)) / payload_offset());
      const PageArena::Area before = slot.area;
      slot.area = arena_.move_up(before, header);
      if (slot.area.first != before.first) slot.job.memory = arena_.begin_of(slot.area);
    }
    slot.next = next;
    slot.returned.store(false, std::memory_order_relaxed);
    elsewhere_.push_back(&slot);
    pool_.post(slot);
  }

  // On a thread of the pool.
  void run_elsewhere(Slot& slot) noexcept {
    switch (slot.next) {
      case Slot::Next::perform: perform(slot.job); break;
      // When all of it is done already, it is done again if a device was lost and came back.
      case Slot::Next::recover: recover(slot.job, slot.access); break;
    }
    slot.returned.store(true, std::memory_order_release);
    returns_.fetch_add(1, std::memory_order_seq_cst);
    returns_.notify_one();
  }

  void take_back() {
    const std::uint32_t returns = returns_.load(std::memory_order_acquire);
    if (returns == returns_seen_) return;
    returns_seen_ = returns;
    std::erase_if(elsewhere_, [&](Slot* slot) {
      if (!slot->returned.load(std::memory_order_acquire)) return false;
      free(*slot);
      return true;
    });
  }

  void wait_for_return() {
    returns_.wait(returns_seen_, std::memory_order_acquire);
    take_back();
  }

  VirtualDisk& disk_;
  JobPool& pool_;
  PageArena arena_;
  Ring ring_;                         // gone before the memory
  std::unique_ptr<Session> patient_;  // its descriptor blocks
  std::unique_ptr<Session> passing_;  // its descriptor does not
  std::vector<Slot> slots_;
  std::vector<Slot*> free_;
  std::vector<Slot*> elsewhere_;
  unsigned in_flight_ = 0;  // slots with transfers
  BatchSize batch_;
  std::uint64_t taken_bytes_ = 0;  // of transfers, in this turn
  bool poll_armed_ = false;
  bool poll_cancelled_ = false;
  std::atomic<std::uint32_t> returns_{0};
  std::uint32_t returns_seen_ = 0;
};

class UringEngine final : public Engine {
 public:
  // Errors: unsupported, no_memory.
  Result<void> create(unsigned workers, VirtualDisk& disk) {
    for (unsigned i = 0; i < workers; ++i) {
      auto arena = PageArena::create(round_up(kArenaBytes + kWaitingBytes / workers, std::size_t{2} << 20U));
      if (!arena) return fail(arena.error());
      const unsigned slots = std::min(kMostSlots, kMostSlotsOfAll / workers);
      workers_.push_back(std::make_unique<UringWorker>(disk, pool_, std::move(*arena), slots));
      if (auto created = workers_.back()->create_ring(); !created) return created;
    }
    return {};
  }
  void adopt(std::vector<std::unique_ptr<Session>>& sessions) {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      workers_[i]->adopt(std::move(sessions[2 * i]), std::move(sessions[2 * i + 1]));
    }
    sessions.clear();
  }

  [[nodiscard]] std::string_view name() const override { return "io_uring"; }
  [[nodiscard]] unsigned workers() const override { return static_cast<unsigned>(workers_.size()); }
  Result<void> start() override {
    if (auto started = pool_.start(kPoolThreads); !started) return started;
    std::vector<Worker*> all;
    for (const auto& worker : workers_) all.push_back(worker.get());
    return crew_.start(all);
  }
  void request_stop() override { crew_.request_stop(); }
  Result<EndReason> wait() override { return crew_.join(); }

 private:
  // Ends in this order: the threads that take requests, those of the pool, what both of them use.
  std::vector<std::unique_ptr<UringWorker>> workers_;
  JobPool pool_;
  WorkerCrew crew_;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_uring_engine(std::vector<std::unique_ptr<Session>>& sessions, VirtualDisk& disk,
                                                  unsigned workers) {
  workers = std::min({kMostRingWorkers, workers, static_cast<unsigned>(sessions.size() / 2)});
  if (workers == 0) return fail(Errc::unsupported);
  auto engine = std::make_unique<UringEngine>();
  if (auto created = engine->create(workers, disk); !created) return fail(created.error());
  for (unsigned i = 0; i < workers; ++i) {
    if (auto done = sessions[2 * i + 1]->set_blocking(false); !done) return fail(done.error());
  }
  engine->adopt(sessions);
  return engine;
}

}  // namespace remapfs::fuse
