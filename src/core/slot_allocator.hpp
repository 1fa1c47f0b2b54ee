// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// A set of the numbers [0, size) that finds its next member fast: a bitmap, and above it bitmaps with a bit for every
// word below that is not empty.
// Cost: every member a few words, whatever the size. Throws std::bad_alloc from the constructor only.
class SearchableBitmap {
 public:
  // Full: every number is a member.
  explicit SearchableBitmap(std::uint64_t size);

  [[nodiscard]] bool contains(std::uint64_t index) const;
  void insert(std::uint64_t index);
  void remove(std::uint64_t index);
  // The smallest member that is at least `from`.
  [[nodiscard]] std::optional<std::uint64_t> next(std::uint64_t from) const;

 private:
  std::uint64_t size_;
  std::vector<std::vector<std::uint64_t>> levels_;  // front: one bit a number; back: a single word
};

// Slots next to each other.
struct SlotRun {
  SlotIndex first;
  std::uint64_t count = 0;

  friend constexpr bool operator==(const SlotRun&, const SlotRun&) = default;
};

// Which slots of one spare are free, used, or retired (they failed and are never used again).
//
// Slots are handed out in ascending order, each search going on where the last one ended (and starting over at the end
// of the spare), so that blocks remapped one after the other get neighbouring slots, and a released slot rests for as
// long as possible.
// Threads: all members from any thread; a mutex inside.
// Cost: O(1), whatever the number of slots. Memory: two bits a slot. Allocates in create() only.
class SlotAllocator {
 public:
  // All `slots` of them free. Errors: no_memory; invalid above kMaxSlotsPerSpare.
  static Result<std::unique_ptr<SlotAllocator>> create(std::uint64_t slots);
  SlotAllocator(const SlotAllocator&) = delete;
  SlotAllocator& operator=(const SlotAllocator&) = delete;

  // A slot that was free; none when there is no free one.
  [[nodiscard]] std::optional<SlotIndex> try_allocate();
  // Up to `count` slots in a row, at least one; none when no slot is free. Best effort: looks at a few places for a row
  // that is long enough and takes the longest it saw.
  [[nodiscard]] std::optional<SlotRun> try_allocate_run(std::uint64_t count);

  // The next search begins so many slots further on.
  void skip(std::uint64_t slots);

  // While a map is loaded: takes this slot. False, with nothing changed, if it is used, retired or no slot of the
  // spare. Allocation goes on after the highest slot marked.
  [[nodiscard]] bool mark_used(SlotIndex slot);
  // Makes a used slot free, unless it was retired while it was used. Any other is a broken invariant.
  void release(SlotIndex slot);
  // Takes a free or used slot out of service for good. False if it is retired already or no slot of the spare.
  bool retire(SlotIndex slot);

  // All slots of the spare, retired ones included.
  [[nodiscard]] std::uint64_t total() const { return total_; }
  // Slots that are not retired: free ones and used ones.
  [[nodiscard]] std::uint64_t usable() const;
  [[nodiscard]] std::uint64_t free() const;

 private:
  explicit SlotAllocator(std::uint64_t slots);
  // The first free slot at or after the cursor, or else from the start.
  [[nodiscard]] std::optional<std::uint64_t> next_free(std::uint64_t from) const REQUIRES(mutex_);
  void take(std::uint64_t first, std::uint64_t count) REQUIRES(mutex_);

  const std::uint64_t total_;
  mutable Mutex mutex_;  // innermost: nothing is called under it
  SearchableBitmap free_ GUARDED_BY(mutex_);
  std::vector<bool> retired_ GUARDED_BY(mutex_);
  std::uint64_t free_count_ GUARDED_BY(mutex_);
  std::uint64_t retired_count_ GUARDED_BY(mutex_) = 0;
  std::uint64_t cursor_ GUARDED_BY(mutex_) = 0;  // where the next search starts
};

}  // namespace remapfs
