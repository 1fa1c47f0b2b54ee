// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "core/epoch.hpp"
#include "core/hash_layer.hpp"
#include "core/memory_source.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// A concurrent map from block number to a non-zero word: one hash array, or, while memory for a larger one is refused,
// a chain of them.
//
// A key has a place in one array of the chain only. Arrays are replaced as a whole: the live entries are copied into a
// fresh one, the pointer is published, the old chain is freed once its readers have left. Erased keys keep their place
// until then.
// Threads: members that take an EpochGuard from any number of threads; all others one at a time.
class BlockMap {
 public:
  // Allocates nothing until reserve() or put().
  explicit BlockMap(MemorySource& memory) : memory_(memory) {}
  // No reader may be inside.
  ~BlockMap();
  BlockMap(const BlockMap&) = delete;
  BlockMap& operator=(const BlockMap&) = delete;

  // The value of a block, 0 if it has none.
  [[nodiscard]] std::uint64_t find(const EpochGuard& /*guard*/, std::uint64_t block) const { return get(block); }
  // The values of the blocks first, first + 1, ...; prefetches, so that cache misses overlap. Cost: a few nanoseconds a
  // block; best with up to some hundred blocks.
  void find_range(const EpochGuard& guard, std::uint64_t first, std::span<std::uint64_t> values) const;
  // The first block in the range that has a value. Cost: a pass over all places.
  [[nodiscard]] std::optional<BlockIndex> scan_for_first(const EpochGuard& guard, BlockRange range) const;
  // Places in all arrays: the cost of a pass.
  [[nodiscard]] std::uint64_t place_count(const EpochGuard& guard) const;
  // Entries. Counts a new one before it can be found and an erased one until it cannot.
  [[nodiscard]] std::uint64_t size() const { return size_.load(std::memory_order_acquire); }
  // The same, to be looked at without a call; as long-lived as the map.
  [[nodiscard]] const std::atomic<std::uint64_t>& size_counter() const { return size_; }

  // As find(), for the changing thread.
  [[nodiscard]] std::uint64_t get(std::uint64_t block) const {
    const std::uint64_t hash = group_hash(block);
    for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
      if (const std::uint64_t value = layer->find(block, hash)) return value;
    }
    return 0;
  }
  // Asks for the memory of a block's place. For the changing thread.
  void prefetch(std::uint64_t block) const {
    if (const HashLayer* layer = newest()) layer->prefetch(group_hash(block));
  }
  // Adds `count` to the outstanding reservations and makes sure there is room for all of them. False, with nothing
  // added, if memory is refused.
  [[nodiscard]] bool reserve(std::uint64_t count);
  // Takes up to `count` off the outstanding reservations; may give memory back.
  void unreserve(std::uint64_t count);
  [[nodiscard]] std::uint64_t reserved() const { return reserved_; }
  // Takes one off them, if there is one, after a put() that used it. Allocates nothing.
  void settle() { reserved_ -= reserved_ == 0 ? 0 : 1; }
  // Enters or replaces. A new key takes room, no matter whose. Allocates nothing while reservations are outstanding.
  // False if there was no room and memory is refused.
  [[nodiscard]] bool put(std::uint64_t block, std::uint64_t value);
  // Removes; returns the value there was, 0 if none.
  std::uint64_t erase(std::uint64_t block);

  // Calls visit(block, value) for every entry, in no order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
      layer->for_each([&](std::uint64_t block, std::uint64_t value) { return visit(block, value), true; });
    }
  }

  // Bytes held, replaced arrays that cannot be freed yet included (those that can be are freed first).
  [[nodiscard]] std::uint64_t memory_bytes();
  [[nodiscard]] bool layered() const;
  // Places that new keys can take without an allocation.
  [[nodiscard]] std::uint64_t room() const;
  // Places a lookup of this block looks at.
  [[nodiscard]] std::uint64_t probe_length(std::uint64_t block) const;

 private:
  [[nodiscard]] HashLayer* newest() const { return newest_.load(std::memory_order_seq_cst); }
  [[nodiscard]] HashLayer::Place* place_of(std::uint64_t block, std::uint64_t hash) const;
  [[nodiscard]] bool make_room(std::uint64_t count);
  [[nodiscard]] bool add_overflow_layers(std::uint64_t largest, std::uint64_t wanted_room);
  [[nodiscard]] bool rebuild(std::uint64_t places);
  void publish(HashLayer* layer) { newest_.store(layer, std::memory_order_seq_cst); }
  void retire(HashLayer* from, const HashLayer* end);
  void free_retired();
  // What the array should hold: entries, reservations and some slack, so that rebuilds stay rare.
  [[nodiscard]] std::uint64_t fitting_places(std::uint64_t more) const;
  void merge_now_and_then();
  void trim();

  MemorySource& memory_;
  // Readers look at the first of these and, now and then, at the second; neither shares a line with what each change
  // writes to.
  alignas(kCacheLine) std::atomic<HashLayer*> newest_{nullptr};
  alignas(kCacheLine) std::atomic<std::uint64_t> size_{0};
  alignas(kCacheLine) std::uint64_t reserved_ = 0;
  std::uint64_t changes_until_merge_ = 0;
  HashLayer* retired_ = nullptr;
};

}  // namespace remapfs
