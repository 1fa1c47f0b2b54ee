// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/memory_source.hpp"

// Epoch-based reclamation: how a writer knows that no lock-free reader can still use an array it replaced.
//
// One domain serves the whole process. A reader announces the current epoch in a record of its thread while it holds
// an EpochGuard. A writer first unlinks memory (a seq_cst store of the pointer that leads to it), then takes a tag with
// advance_epoch(), and may free the memory once readers_left(tag).
//
// Why it is safe: a reader stores its announcement before it loads the pointer, and a barrier keeps the two in order.
// Readers are many and writers few, so the barrier is the writer's where the kernel lends a hand: advance_epoch() makes
// every running thread of the process pass one (membarrier(2), private expedited), and readers need none of their own.
// A reader whose announcement comes before that point is seen by every later scan; one whose announcement comes after
// it loads the pointer after it too, and finds the new memory. Where the kernel refuses (before 4.14, or a filter of
// system calls), readers announce with a seq_cst store, and the single order of all seq_cst operations gives the same:
// if a scan does not see an announcement <= tag, then either the announcement comes after the scan, or it read the
// epoch after advance_epoch(); both put its load of the pointer after the unlinking store. In either case a reader that
// has left did so with a release store, and the scan synchronises with it.

namespace remapfs {

namespace epoch_detail {

// What one thread announces: the epoch in which it reads, 0 while it does not.
struct alignas(kCacheLine) ReaderRecord {
  std::atomic<std::uint64_t> epoch{0};
  std::atomic<bool> taken{false};
  ReaderRecord* next = nullptr;  // fixed once the record is in the list
};

extern std::atomic<std::uint64_t> current_epoch;
// Whether announcements need a barrier of their own. Settled once, before the first record is taken.
extern std::atomic<bool> readers_fence;
// The record of this thread, once it has one. Trivially destructible, so that it can be used at any time in the life
// of a thread.
extern thread_local constinit ReaderRecord* thread_record;

ReaderRecord* take_record() noexcept;
[[noreturn]] void nested_guard() noexcept;

}  // namespace epoch_detail

// While one exists, memory that its thread can reach from a published pointer loaded inside stays allocated.
//
// Keep it short: retired memory waits for it. One at a time in a thread.
// Cost: two plain stores; one of them is a seq_cst exchange where membarrier(2) is refused. A thread's first guard
// takes a record: 128 are ready, one more is
//   allocated for each thread beyond (running out of memory there ends the program). Records are handed on when a
//   thread ends.
class EpochGuard {
 public:
  EpochGuard() noexcept {
    using namespace epoch_detail;
    record_ = thread_record;
    if (record_ == nullptr) [[unlikely]]
      record_ = take_record();
    if (record_->epoch.load(std::memory_order_relaxed) != 0) [[unlikely]]
      nested_guard();
    const std::uint64_t epoch = current_epoch.load(std::memory_order_acquire);
    if (readers_fence.load(std::memory_order_relaxed)) [[unlikely]] {
      record_->epoch.store(epoch, std::memory_order_seq_cst);
    } else {
      record_->epoch.store(epoch, std::memory_order_release);
      // The compiler keeps the order; the processor is made to by advance_epoch().
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
  }
  ~EpochGuard() { record_->epoch.store(0, std::memory_order_release); }
  EpochGuard(const EpochGuard&) = delete;
  EpochGuard& operator=(const EpochGuard&) = delete;

 private:
  epoch_detail::ReaderRecord* record_;
};

// Ends the current epoch and returns its number, the tag of everything unlinked before the call.
// Cost: some microseconds (an interrupt to each processor that runs a thread of the process).
[[nodiscard]] std::uint64_t advance_epoch() noexcept;
// True when no reader that entered up to epoch `tag` is still inside. Cost: one load for every record.
[[nodiscard]] bool readers_left(std::uint64_t tag) noexcept;
// Records in existence; bounded by the largest number of threads that ever read at the same time, at least 128.
[[nodiscard]] std::size_t epoch_record_count() noexcept;

}  // namespace remapfs
