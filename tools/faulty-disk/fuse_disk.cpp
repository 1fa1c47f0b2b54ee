// SPDX-License-Identifier: Apache-2.0
#include "fuse_disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

namespace faulty {
namespace {

// Threads that carry out requests whose delay is over. They only transfer; nobody waits on them.
constexpr unsigned kDelayThreads = 4;

// Every thread's own; a request never exceeds it (libfuse 3.14 negotiates at most 256 pages).
constexpr std::size_t kBufferSize = remapfs::kMaxRequestSize;
thread_local std::unique_ptr<std::byte[]> thread_buffer;

}  // namespace

// A request that waits for its time.
class FuseDisk::Delayed : public DelayQueue::Job {
 public:
  Delayed(FuseDisk& disk, fuse_req_t request, AccessPlan plan)
      : disk_(disk), request_(request), plan_(std::move(plan)) {}

  // stored() and corrupt() may run out of memory, always before the answer.
  void run() final {
    try {
      finish();
    } catch (const std::bad_alloc&) {
      fuse_reply_err(request_, ENOMEM);
    }
  }
  [[nodiscard]] bool released() const final { return disk_.engine_.gone() != 0 || FaultEngine::released(plan_); }

 protected:
  virtual void finish() = 0;

  FuseDisk& disk_;
  fuse_req_t request_;
  AccessPlan plan_;
};

class FuseDisk::DelayedRead final : public Delayed {
 public:
  DelayedRead(FuseDisk& disk, fuse_req_t request, AccessPlan plan, ByteRange range)
      : Delayed(disk, request, std::move(plan)), range_(range) {}

 private:
  void finish() override { disk_.finish_read(request_, plan_, range_); }

  ByteRange range_;
};

class FuseDisk::DelayedWrite final : public Delayed {
 public:
  DelayedWrite(FuseDisk& disk, fuse_req_t request, AccessPlan plan, ByteOffset to, std::span<const std::byte> data)
      : Delayed(disk, request, std::move(plan)), to_(to), data_(data.begin(), data.end()) {}

 private:
  void finish() override { disk_.finish_write(request_, plan_, to_, data_); }

  ByteOffset to_;
  std::vector<std::byte> data_;  // libfuse takes its buffer back when the callback returns
};

class FuseDisk::DelayedZero final : public Delayed {
 public:
  DelayedZero(FuseDisk& disk, fuse_req_t request, AccessPlan plan, bool punch)
      : Delayed(disk, request, std::move(plan)), punch_(punch) {}

 private:
  void finish() override { disk_.finish_zero(request_, plan_, punch_); }

  bool punch_;
};

class FuseDisk::DelayedFlush final : public Delayed {
 public:
  using Delayed::Delayed;

 private:
  void finish() override { disk_.finish_flush(request_, plan_); }
};

FuseDisk::FuseDisk(FaultEngine& engine, DiskImage& image, Options options)
    : engine_(engine), image_(image), options_(options), delays_(kDelayThreads, &FuseDisk::enter_thread) {
  ::clock_gettime(CLOCK_REALTIME, &mounted_at_);
}

void FuseDisk::enter_thread() {
  thread_buffer = std::make_unique<std::byte[]>(kBufferSize);  // value-initialised, so every page is touched
}

void FuseDisk::set_gone(int error) {
  engine_.set_gone(error);
  if (error != 0) delays_.release();
}

bool FuseDisk::refuse_when_gone(fuse_req_t request, Counter& errors) {
  const int gone = engine_.gone();
  if (gone == 0) return false;
  counts_.refused_gone.add();
  errors.add();
  fuse_reply_err(request, gone);
  return true;
}

int FuseDisk::image_outcome(int error) {
  if (error != 0) counts_.image_errors.add();
  return error;
}

void FuseDisk::read(fuse_req_t request, ByteOffset from, std::size_t length) {
  const ByteRange range{from, std::min(from + length, std::max(from, engine_.disk().end()))};
  counts_.reads.add();
  if (length > kBufferSize) {
    counts_.read_errors.add();
    fuse_reply_err(request, EINVAL);
    return;
  }
  if (range.empty()) {
    fuse_reply_buf(request, nullptr, 0);
    return;
  }
  AccessPlan plan = engine_.plan_read(range);
  if (plan.delay.count() == 0) return finish_read(request, plan, range);
  counts_.delayed.add();
  const nanoseconds delay = plan.delay;
  delays_.push(std::make_unique<DelayedRead>(*this, request, std::move(plan), range), delay);
}

void FuseDisk::finish_read(fuse_req_t request, const AccessPlan& plan, ByteRange range) {
  if (refuse_when_gone(request, counts_.read_errors)) return;
  const std::span data(thread_buffer.get(), range.size().value());
  int error = plan.error;
  if (error == 0) error = image_outcome(image_.read(range.begin, data));
  if (error != 0) {
    counts_.read_errors.add();
    fuse_reply_err(request, error);
    return;
  }
  if (!plan.corrupt.empty()) {
    engine_.corrupt(plan, range.begin, data);
    counts_.corrupted_reads.add();
  }
  counts_.bytes_read.add(data.size());
  fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), data.size());
}

void FuseDisk::write(fuse_req_t request, ByteOffset to, std::span<const std::byte> data) {
  counts_.writes.add();
  // All or nothing: a loop device would take a short write for a whole one.
  if (to + data.size() > engine_.disk().end()) {
    counts_.write_errors.add();
    fuse_reply_err(request, ENOSPC);
    return;
  }
  if (data.empty()) {
    fuse_reply_write(request, 0);
    return;
  }
  AccessPlan plan = engine_.plan_write({to, to + data.size()});
  if (plan.delay.count() == 0) return finish_write(request, plan, to, data);
  counts_.delayed.add();
  const nanoseconds delay = plan.delay;
  delays_.push(std::make_unique<DelayedWrite>(*this, request, std::move(plan), to, data), delay);
}

void FuseDisk::finish_write(fuse_req_t request, const AccessPlan& plan, ByteOffset to,
                            std::span<const std::byte> data) {
  if (refuse_when_gone(request, counts_.write_errors)) return;
  // A bad sector lets the ones before it through.
  int error = image_outcome(image_.write(to, data.first(plan.usable.size().value())));
  if (error == 0) {
    engine_.stored(plan, plan.usable);
    error = plan.error;
  }
  if (error != 0) {
    counts_.write_errors.add();
    fuse_reply_err(request, error);
    return;
  }
  counts_.bytes_written.add(data.size());
  fuse_reply_write(request, data.size());
}

void FuseDisk::zero(fuse_req_t request, ByteRange range, bool punch) {
  counts_.zeroes.add();
  if (range.end > engine_.disk().end()) {
    counts_.write_errors.add();
    fuse_reply_err(request, ENOSPC);
    return;
  }
  AccessPlan plan = engine_.plan_write(range);
  if (plan.delay.count() == 0) return finish_zero(request, plan, punch);
  counts_.delayed.add();
  const nanoseconds delay = plan.delay;
  delays_.push(std::make_unique<DelayedZero>(*this, request, std::move(plan), punch), delay);
}

void FuseDisk::finish_zero(fuse_req_t request, const AccessPlan& plan, bool punch) {
  if (refuse_when_gone(request, counts_.write_errors)) return;
  int error = image_outcome(image_.zero(plan.usable, punch));
  if (error == 0) {
    engine_.stored(plan, plan.usable);
    error = plan.error;
  }
  if (error != 0) counts_.write_errors.add();
  fuse_reply_err(request, error);
}

void FuseDisk::flush(fuse_req_t request) {
  counts_.flushes.add();
  AccessPlan plan = engine_.plan_flush();
  if (plan.delay.count() == 0) return finish_flush(request, plan);
  counts_.delayed.add();
  const nanoseconds delay = plan.delay;
  delays_.push(std::make_unique<DelayedFlush>(*this, request, std::move(plan)), delay);
}

void FuseDisk::finish_flush(fuse_req_t request, const AccessPlan& plan) {
  if (refuse_when_gone(request, counts_.flush_errors)) return;
  int error = plan.error;
  if (error == 0) error = image_outcome(image_.sync());
  if (error != 0) counts_.flush_errors.add();
  fuse_reply_err(request, error);
}

}  // namespace faulty
