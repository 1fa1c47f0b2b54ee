// SPDX-License-Identifier: Apache-2.0
#include "volume/replacer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "volume/scrub_pace.hpp"

namespace remapfs {
namespace {

// How often what does not work is tried again.
constexpr std::chrono::seconds kTroublePause{1};

}  // namespace

Replacer::~Replacer() { std::ignore = stop(); }

bool Replacer::runs() const {
  const MutexLock lock(mutex_);
  return status_.state == ReplaceState::copying || status_.state == ReplaceState::returning;
}

bool Replacer::copies() const {
  const MutexLock lock(mutex_);
  return status_.state == ReplaceState::copying;
}

Result<void> Replacer::start(NewPrimary next, std::uint64_t rate) {
  const MutexLock in_turn(starting_);
  if (runs()) return fail(Errc::busy, "a replacement is under way already, this volume, wait for it or stop it");
  if (thread_.joinable()) thread_.join();
  {
    const MutexLock lock(mutex_);
    status_ = {};
    status_.state = ReplaceState::copying;
    status_.path = next.record.path;
    status_.total_bytes = status_.left_bytes = volume_.size().value();
    meter_ = {};
    leaving_ = false;
  }
  left_before_ = volume_.size().value();
  step_begun_ = Clock::now();
  try {
    thread_ = std::thread([this, rate, next = std::move(next)]() mutable { work(std::move(next), rate); });
  } catch (const std::system_error&) {
    const MutexLock lock(mutex_);
    status_ = {};
    return fail(Errc::no_memory, "no thread can be had, a copy of the disk, free memory or raise the limit");
  }
  return {};
}

Outcome Replacer::stop() {
  const MutexLock in_turn(starting_);
  const bool ran = runs();
  {
    const MutexLock lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  return ran ? Outcome::done : Outcome::already;
}

ReplaceStatus Replacer::status() const {
  const MutexLock lock(mutex_);
  ReplaceStatus now = status_;
  if (now.state == ReplaceState::copying) now.bytes_per_second = meter_.bytes_per_second();
  return now;
}

bool Replacer::wait(std::chrono::milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  MutexLock lock(mutex_);
  while (status_.state == ReplaceState::copying || status_.state == ReplaceState::returning) {
    if (changed_.wait_until(lock, until) == std::cv_status::timeout) return false;
  }
  return true;
}

void Replacer::work(NewPrimary next, std::uint64_t rate) {
  const auto replaced = volume_.replace_primary(
      std::move(next), [this, rate](const CopyProgress& progress) { return pace(progress, rate); });
  if (replaced) {
    {
      const MutexLock lock(mutex_);
      status_.switched = true;
      status_.left_bytes = 0;
      status_.state = ReplaceState::returning;
      status_.trouble.clear();
    }
    changed_.notify_all();
    if (on_switch_) on_switch_();
    bring_back(rate);
  }
  {
    const MutexLock lock(mutex_);
    if (replaced) {
      status_.state = ReplaceState::finished;
    } else {
      status_.state = replaced.error().code == Errc::interrupted ? ReplaceState::stopped : ReplaceState::failed;
      if (status_.state == ReplaceState::failed) status_.trouble = describe(replaced.error());
    }
  }
  changed_.notify_all();
}

bool Replacer::others_came() {
  const VolumeStatus figures = volume_.status();
  const std::uint64_t requests = figures.reads + figures.writes;
  return std::exchange(requests_seen_, requests) != requests;
}

std::uint64_t Replacer::pace(const CopyProgress& progress, std::uint64_t rate) {
  const auto now = Clock::now();
  const auto took = now - step_begun_;
  const bool others = others_came() && !progress.again;
  const std::uint64_t left = progress.left.value();
  const std::uint64_t copied = left_before_ > left ? left_before_ - left : 0;
  const std::uint64_t block_size = volume_.block_geometry().block_size();
  const ScrubPace pace(block_size, rate, others);
  std::uint64_t step = pace.blocks() * block_size;
  MutexLock lock(mutex_);
  status_.left_bytes = left;
  status_.again = progress.again;
  status_.trouble = progress.trouble ? describe(*progress.trouble) : std::string();
  const Clock::duration pause =
      progress.trouble ? Clock::duration(kTroublePause) : pace.pause_after(ByteCount(copied), took);
  if (!rest(pause)) step = 0;
  step_begun_ = Clock::now();
  meter_.add(copied, took + (step_begun_ - now));
  left_before_ = left;
  return step;
}

bool Replacer::rest(Clock::duration pause) {
  const auto until = Clock::now() + pause;
  while (!leaving_ && pause > Clock::duration::zero()) {
    if (changed_.wait_until(mutex_, until) == std::cv_status::timeout) break;
  }
  return !leaving_;
}

void Replacer::bring_back(std::uint64_t rate) {
  const std::uint64_t block_size = volume_.block_geometry().block_size();
  BlockIndex from(0);
  auto begun = Clock::now();
  while (const auto returned = volume_.return_next(from)) {
    from = returned->block + 1;
    const ScrubPace pace(block_size, rate, others_came());
    MutexLock lock(mutex_);
    if (returned->result) {
      ++status_.returned_blocks;
    } else {
      status_.trouble = describe(returned->result.error());
    }
    if (!rest(pace.pause_after(ByteCount(block_size), Clock::now() - begun))) break;
    begun = Clock::now();
  }
  ReplaceStatus now;
  {
    const MutexLock lock(mutex_);
    status_.kept_blocks = volume_.status().remapped_blocks;
    now = status_;
  }
  if (now.returned_blocks + now.kept_blocks == 0) return;
  std::ignore = volume_.record_event({"returned", std::nullopt,
                                      fmt::format("{} blocks came back from the spares to {}, {} are there",
                                                  now.returned_blocks, now.path, now.kept_blocks)});
}

}  // namespace remapfs
