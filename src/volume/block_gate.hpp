// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/units.hpp"
#include "volume/deadline.hpp"

namespace remapfs {

// Keeps whoever moves a block apart from the requests that use it (promises I4 and I8).
//
// Every request enters with the blocks it touches and leaves when its device accesses are over. Whoever changes where
// a block lives holds the block exclusively: new requests on it wait, those inside are drained before exclude()
// returns. While a block is held nobody else reads its entry and acts on it, so a slot that it leaves is free at once.
//
// Requests share nothing with each other: each announces its range in a cache line of its own and then looks whether
// anybody holds a block there; the holder marks first and then looks at the announcements. Sequential consistency of
// the two stores makes one of them see the other.
//
// Who asked for blocks first gets them first, or whoever wants many would never find all of them free. He gives way
// while nobody lets go of any: what he waits for may be a device that does not answer, and others need not.
//
// Threads: all members. Order: a thread asks for at most one hold that waits, and never while it is inside with a pass.
// A second one is asked for with exclude_another() and a short deadline, or with exclude() and none. A thread may be
// inside any number of times, with try_enter().
//
// Cost: enter() two atomic stores and one load when nobody holds anything; exclude() scans all announcements.
class BlockGate {
 public:
  class Pass;
  class Hold;

  BlockGate();

  // Waits until nobody holds a block of the range, then lets the caller in. Errors: deadline.
  Result<Pass> enter(BlockRange blocks, const Deadline& deadline);
  // The same without waiting: nothing when somebody holds a block of the range, or very many requests are inside.
  std::optional<Pass> try_enter(BlockRange blocks);
  // Waits for other holders of any block of the range and for the requests inside. Errors: deadline.
  Result<Hold> exclude(BlockRange blocks, const Deadline& deadline);
  // The same for a thread with a hold, which those who asked before may be waiting for: it does not wait for them.
  Result<Hold> exclude_another(BlockRange blocks, const Deadline& deadline);

  // How long those who ask later wait for one who asked before, since the last of his blocks was let go.
  static constexpr std::chrono::milliseconds kTurn{500};

 private:
  struct Asking {
    std::uint64_t turn;
    BlockRange blocks;
    Deadline::Clock::time_point gives_way;  // until one of the blocks is let go
  };
  struct alignas(64) Announcement {
    std::atomic<std::uint64_t> begin{0};
    std::atomic<std::uint64_t> end{0};  // 0: free; kClaimed: being written
  };
  static constexpr std::uint64_t kClaimed = ~std::uint64_t{0};
  static constexpr std::size_t kAnnouncements = 512;
  static constexpr std::size_t kStripes = 1024;
  static constexpr unsigned kStripeShift = 8;  // blocks per stripe, as a power of two

  [[nodiscard]] Announcement* try_claim();
  Announcement& claim();
  [[nodiscard]] std::optional<Pass> announce(Announcement& mine, BlockRange blocks);
  // Whether somebody waits for a block of the range, which is held.
  [[nodiscard]] bool wanted(BlockRange blocks) const;
  [[nodiscard]] bool maybe_held(BlockRange blocks) const;
  [[nodiscard]] bool held(BlockRange blocks) const REQUIRES(mutex_);
  // Whether nobody has a block of the range, nor asked for one before this turn.
  [[nodiscard]] bool is_free(BlockRange blocks, std::uint64_t turn) const REQUIRES(mutex_);
  [[nodiscard]] bool wait_in_turn(MutexLock& lock, BlockRange blocks, const Deadline& deadline) REQUIRES(mutex_);
  void keep(BlockRange blocks) REQUIRES(mutex_);
  Result<Hold> drain(BlockRange blocks, const Deadline& deadline);
  void mark(BlockRange blocks, std::uint32_t change);
  [[nodiscard]] bool drained(BlockRange blocks) const;
  void let_go(BlockRange blocks);

  std::unique_ptr<std::array<Announcement, kAnnouncements>> announcements_;
  std::unique_ptr<std::array<std::atomic<std::uint32_t>, kStripes>> stripes_;
  std::atomic<std::uint32_t> holders_{0};

  mutable Mutex mutex_;
  std::condition_variable_any let_go_;
  std::vector<BlockRange> held_ GUARDED_BY(mutex_);
  std::vector<Asking> asking_ GUARDED_BY(mutex_);
  std::vector<BlockRange> entering_ GUARDED_BY(mutex_);  // requests that wait
  std::uint64_t last_turn_ GUARDED_BY(mutex_) = 0;
};

// A request's stay; leaves when destroyed.
class BlockGate::Pass {
 public:
  Pass(Pass&& other) noexcept : announcement_(std::exchange(other.announcement_, nullptr)) {}
  Pass& operator=(Pass&&) = delete;
  ~Pass() {
    if (announcement_ != nullptr) announcement_->end.store(0, std::memory_order_release);
  }

  // For a stay that goes on in another scope: the token of a pass that no longer leaves by itself, and back.
  [[nodiscard]] void* detach() { return std::exchange(announcement_, nullptr); }
  static Pass attach(void* token) { return Pass(static_cast<Announcement*>(token)); }

 private:
  friend class BlockGate;
  explicit Pass(Announcement* announcement) : announcement_(announcement) {}
  Announcement* announcement_;
};

// An exclusive hold; lets go when destroyed.
class BlockGate::Hold {
 public:
  Hold(Hold&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)), blocks_(other.blocks_) {}
  Hold& operator=(Hold&&) = delete;
  ~Hold() {
    if (gate_ != nullptr) gate_->let_go(blocks_);
  }
  [[nodiscard]] BlockRange blocks() const { return blocks_; }
  // Whether somebody waits for one of the blocks.
  [[nodiscard]] bool wanted() const { return gate_->wanted(blocks_); }

 private:
  friend class BlockGate;
  Hold(BlockGate* gate, BlockRange blocks) : gate_(gate), blocks_(blocks) {}
  BlockGate* gate_;
  BlockRange blocks_;
};

}  // namespace remapfs
