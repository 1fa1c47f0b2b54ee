// SPDX-License-Identifier: Apache-2.0
#include "volume/block_gate.hpp"

#include <algorithm>
#include <thread>

namespace remapfs {

BlockGate::BlockGate()
    : announcements_(std::make_unique<std::array<Announcement, kAnnouncements>>()),
      stripes_(std::make_unique<std::array<std::atomic<std::uint32_t>, kStripes>>()) {
  held_.reserve(kAnnouncements);
  asking_.reserve(kAnnouncements);
  entering_.reserve(kAnnouncements);
}

BlockGate::Announcement* BlockGate::try_claim() {
  static std::atomic<std::size_t> next_thread{0};
  // Threads start at places of their own, a few lines apart, and so find their line free on the first try. A thread
  // with many requests inside goes on from the last one.
  thread_local std::size_t home = next_thread.fetch_add(1, std::memory_order_relaxed) * 7;
  for (std::size_t i = home; i < home + kAnnouncements; ++i) {
    Announcement& candidate = (*announcements_)[i % kAnnouncements];
    std::uint64_t free = 0;
    if (candidate.end.load(std::memory_order_relaxed) == 0 &&
        candidate.end.compare_exchange_strong(free, kClaimed, std::memory_order_acquire)) {
      home = i % kAnnouncements;
      return &candidate;
    }
  }
  return nullptr;
}

BlockGate::Announcement& BlockGate::claim() {
  for (;;) {
    if (Announcement* free = try_claim()) return *free;
    std::this_thread::yield();
  }
}

bool BlockGate::maybe_held(BlockRange blocks) const {
  if (holders_.load(std::memory_order_seq_cst) == 0) return false;
  const std::uint64_t first = blocks.begin.value() >> kStripeShift;
  const std::uint64_t last = (blocks.end.value() - 1) >> kStripeShift;
  if (last - first >= kStripes) return true;
  for (std::uint64_t stripe = first; stripe <= last; ++stripe) {
    if ((*stripes_)[stripe % kStripes].load(std::memory_order_seq_cst) != 0) return true;
  }
  return false;
}

bool BlockGate::held(BlockRange blocks) const {
  return std::any_of(held_.begin(), held_.end(), [&](BlockRange other) { return other.overlaps(blocks); });
}

void BlockGate::mark(BlockRange blocks, std::uint32_t change) {
  const std::uint64_t first = blocks.begin.value() >> kStripeShift;
  const std::uint64_t last = (blocks.end.value() - 1) >> kStripeShift;
  const std::uint64_t count = std::min<std::uint64_t>(last - first + 1, kStripes);
  for (std::uint64_t i = 0; i < count; ++i) {
    (*stripes_)[(first + i) % kStripes].fetch_add(change, std::memory_order_seq_cst);
  }
  holders_.fetch_add(change, std::memory_order_seq_cst);
}

std::optional<BlockGate::Pass> BlockGate::announce(Announcement& mine, BlockRange blocks) {
  mine.begin.store(blocks.begin.value(), std::memory_order_relaxed);
  mine.end.store(blocks.end.value(), std::memory_order_seq_cst);
  Pass pass(&mine);
  if (!maybe_held(blocks)) return pass;
  const MutexLock lock(mutex_);
  // Announced before this look: whoever marks a block of ours after it will find the announcement.
  if (!held(blocks)) return pass;
  return std::nullopt;
}

std::optional<BlockGate::Pass> BlockGate::try_enter(BlockRange blocks) {
  REMAPFS_INVARIANT(!blocks.empty());
  Announcement* const mine = try_claim();
  if (mine == nullptr) return std::nullopt;
  return announce(*mine, blocks);
}

Result<BlockGate::Pass> BlockGate::enter(BlockRange blocks, const Deadline& deadline) {
  REMAPFS_INVARIANT(!blocks.empty());
  for (;;) {
    if (auto pass = announce(claim(), blocks)) return std::move(*pass);
    MutexLock lock(mutex_);
    entering_.push_back(blocks);
    bool in_time = true;
    while (held(blocks) && in_time) {
      in_time = let_go_.wait_until(lock, deadline.at()) != std::cv_status::timeout;
    }
    entering_.erase(std::find(entering_.begin(), entering_.end(), blocks));
    if (held(blocks)) return fail(Errc::deadline);
  }
}

bool BlockGate::wanted(BlockRange blocks) const {
  const MutexLock lock(mutex_);
  const auto overlaps = [&](BlockRange other) { return other.overlaps(blocks); };
  return std::any_of(entering_.begin(), entering_.end(), overlaps) ||
         std::any_of(asking_.begin(), asking_.end(), [&](const Asking& other) { return overlaps(other.blocks); });
}

bool BlockGate::drained(BlockRange blocks) const {
  return std::none_of(announcements_->begin(), announcements_->end(), [&](const Announcement& a) {
    const std::uint64_t end = a.end.load(std::memory_order_seq_cst);
    if (end == 0) return false;
    // A line that changes hands between the two loads belongs to a request that came after the mark and looks at it
    // itself; a claimed one counts as inside until it shows its range.
    const std::uint64_t begin = a.begin.load(std::memory_order_seq_cst);
    return end == kClaimed || BlockRange{BlockIndex(begin), BlockIndex(end)}.overlaps(blocks);
  });
}

bool BlockGate::is_free(BlockRange blocks, std::uint64_t turn) const {
  const auto now = Deadline::Clock::now();
  return !held(blocks) && std::none_of(asking_.begin(), asking_.end(), [&](const Asking& other) {
    return other.turn < turn && other.blocks.overlaps(blocks) && now < other.gives_way;
  });
}

bool BlockGate::wait_in_turn(MutexLock& lock, BlockRange blocks, const Deadline& deadline) {
  const std::uint64_t turn = ++last_turn_;
  if (is_free(blocks, turn)) return true;
  if (deadline.passed()) return false;
  asking_.push_back({turn, blocks, Deadline(kTurn).at()});
  bool free = false;
  while (!(free = is_free(blocks, turn)) && !deadline.passed()) {
    // Also when somebody who asked before gives way.
    auto until = deadline.at();
    for (const Asking& other : asking_) {
      if (other.turn < turn && Deadline::Clock::now() < other.gives_way) until = std::min(until, other.gives_way);
    }
    let_go_.wait_until(lock, until);
  }
  std::erase_if(asking_, [&](const Asking& other) { return other.turn == turn; });
  if (!free) let_go_.notify_all();
  return free;
}

void BlockGate::keep(BlockRange blocks) {
  held_.push_back(blocks);
  mark(blocks, 1);
}

Result<BlockGate::Hold> BlockGate::exclude(BlockRange blocks, const Deadline& deadline) {
  REMAPFS_INVARIANT(!blocks.empty());
  {
    MutexLock lock(mutex_);
    if (!wait_in_turn(lock, blocks, deadline)) return fail(Errc::deadline);
    keep(blocks);
  }
  return drain(blocks, deadline);
}

Result<BlockGate::Hold> BlockGate::exclude_another(BlockRange blocks, const Deadline& deadline) {
  REMAPFS_INVARIANT(!blocks.empty());
  {
    MutexLock lock(mutex_);
    while (held(blocks)) {
      if (deadline.passed()) return fail(Errc::deadline);
      let_go_.wait_until(lock, deadline.at());
    }
    keep(blocks);
  }
  return drain(blocks, deadline);
}

// Waits for the requests that are inside.
Result<BlockGate::Hold> BlockGate::drain(BlockRange blocks, const Deadline& deadline) {
  Hold hold(this, blocks);
  // Requests inside end with their device access, usually within microseconds.
  for (unsigned round = 0; !drained(blocks); ++round) {
    if (round < 64) {
      std::this_thread::yield();
    } else {
      if (deadline.passed()) return fail(Errc::deadline);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  return hold;
}

void BlockGate::let_go(BlockRange blocks) {
  {
    MutexLock lock(mutex_);
    const auto mine = std::find(held_.begin(), held_.end(), blocks);
    REMAPFS_INVARIANT(mine != held_.end());
    held_.erase(mine);
    mark(blocks, ~std::uint32_t{0});
    for (Asking& one : asking_) {
      if (one.blocks.overlaps(blocks)) one.gives_way = Deadline(kTurn).at();
    }
  }
  let_go_.notify_all();
}

}  // namespace remapfs
