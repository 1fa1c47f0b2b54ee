// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "core/memory_source.hpp"

namespace remapfs {

// Blocks that are hashed together: neighbours, because bad blocks and requests come in runs. Their entries fill one
// cache line.
inline constexpr unsigned kBlocksPerLine = 4;

// Hash of the group of neighbours that a block belongs to. A bijection of the group number (the finalizer of
// splitmix64), so two groups never share a whole hash.
[[nodiscard]] constexpr std::uint64_t group_hash(std::uint64_t block) {
  std::uint64_t x = block / kBlocksPerLine + 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

// One open-addressing array of (block, value), both one word. 0 as a value means absent.
//
// A place takes its key once and keeps it as long as the array lives; only its value changes. A reader therefore never
// pairs one block's key with another's value, without locks or versions. Places are probed a cache line at a time: all
// four places of the home line beginning with block mod 4, then lines further on by a step that belongs to the group.
// Threads: find() from any number of threads beside one changing thread.
class HashLayer {
 public:
  struct Place {
    std::uint64_t key;  // block + 1, 0 while the place is free
    std::uint64_t value;
  };

  // Where probing for a block ended: at its place, or at the free place it would take.
  struct Probe {
    Place* place;
    bool found;
    std::uint64_t examined;  // places looked at
  };

  static constexpr std::uint64_t kMinPlaces = 64;

  // A layer of `places` free places (a size that places_for() returned, or a power of two from kMinPlaces), or nullptr
  // if memory is refused. It lives at the start of its own allocation.
  [[nodiscard]] static HashLayer* create(MemorySource& memory, std::uint64_t places, HashLayer* older) noexcept;
  static void destroy(MemorySource& memory, HashLayer* layer) noexcept;

  // The smallest size whose limit is at least `entries`. Powers of two up to 1 MiB, quarters between powers beyond, so
  // that large layers stay well filled.
  [[nodiscard]] static constexpr std::uint64_t places_for(std::uint64_t entries);
  // Places that may be taken: three in four, which keeps probes short.
  [[nodiscard]] static constexpr std::uint64_t limit_of(std::uint64_t places) { return places / 4 * 3; }
  [[nodiscard]] static constexpr std::uint64_t bytes_of(std::uint64_t places);

  [[nodiscard]] Probe probe(std::uint64_t block, std::uint64_t hash) const;
  // The value of a block, 0 if it has none here. Cost: one cache line and no branch that depends on where in it the
  // block is, for all but the blocks that found their home line full.
  [[nodiscard]] std::uint64_t find(std::uint64_t block, std::uint64_t hash) const;
  // The values of all blocks of a group, 0 for those that have none here. first: the first of them.
  void find_group(std::uint64_t first, std::uint64_t hash, std::span<std::uint64_t, kBlocksPerLine> values) const;
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(home(hash)); }

  // Gives a free place to a block. The value is there before a reader can see the key.
  void occupy(Place& place, std::uint64_t block, std::uint64_t value) {
    store_value(place, value);
    std::atomic_ref(place.key).store(block + 1, std::memory_order_release);
    ++used_;
  }
  [[nodiscard]] static std::uint64_t load_value(Place& place) {
    return std::atomic_ref(place.value).load(std::memory_order_acquire);
  }
  static void store_value(Place& place, std::uint64_t value) {
    std::atomic_ref(place.value).store(value, std::memory_order_release);
  }

  // Calls visit(block, value) for every present entry, until it returns false. Returns false if it was stopped.
  template <class Visit>
  bool for_each(Visit&& visit) const {
    for (Place* place = places(); place != places() + place_count(); ++place) {
      const std::uint64_t key = std::atomic_ref(place->key).load(std::memory_order_acquire);
      if (key == 0) continue;
      const std::uint64_t value = load_value(*place);
      if (value != 0 && !visit(key - 1, value)) return false;
    }
    return true;
  }

  [[nodiscard]] std::uint64_t place_count() const { return lines_ * kBlocksPerLine; }
  // Places that may still be taken.
  [[nodiscard]] std::uint64_t room() const { return limit_of(place_count()) - used_; }
  [[nodiscard]] bool unused() const { return used_ == 0; }
  [[nodiscard]] HashLayer* older() const { return older_; }

  // For the owner, once the layer is retired.
  std::uint64_t retired_in = 0;
  HashLayer* next_retired = nullptr;

 private:
  static constexpr std::uint64_t kHeaderBytes = 2 * kCacheLine;
  static constexpr std::uint64_t kLargestDoubled = 65536;  // places: 1 MiB
  // A step must be coprime to the number of lines to visit all of them. It is 1 more than a multiple of this unit,
  // which every prime factor of the number of lines divides: lines are a power of two or, beyond kLargestDoubled
  // places, 2^a times 5, 6 or 7.
  static constexpr std::uint64_t step_unit_of(std::uint64_t lines) {
    return (lines & (lines - 1)) == 0 ? 2 : 2 * 3 * 5 * 7;
  }

  HashLayer(std::uint64_t places, HashLayer* older)
      : lines_(places / kBlocksPerLine), step_unit_(step_unit_of(lines_)), older_(older) {}
  ~HashLayer() = default;

  [[nodiscard]] Place* places() const {
    auto* self = reinterpret_cast<std::byte*>(const_cast<HashLayer*>(this));
    return reinterpret_cast<Place*>(self + kHeaderBytes);
  }
  [[nodiscard]] Place* home(std::uint64_t hash) const { return places() + home_line(hash) * kBlocksPerLine; }
  // Scales the upper half of the hash to the lines. Being monotone, it makes copying into another size run through both
  // arrays in nearly the same order.
  [[nodiscard]] std::uint64_t home_line(std::uint64_t hash) const { return ((hash >> 32U) * lines_) >> 32U; }
  [[nodiscard]] std::uint64_t step(std::uint64_t hash) const {
    return (((hash & 0xffffffffU) * (lines_ / step_unit_)) >> 32U) * step_unit_ + 1;
  }

  [[nodiscard]] std::uint64_t next_line(std::uint64_t line, std::uint64_t hash) const {
    line += step(hash);
    return line >= lines_ ? line - lines_ : line;
  }
  [[nodiscard]] std::uint64_t find_further(std::uint64_t block, std::uint64_t hash) const;
  void find_scattered_group(std::uint64_t first, std::uint64_t hash,
                            std::span<std::uint64_t, kBlocksPerLine> values) const;

  // Of the changing thread, as what is above. What readers need is in a line of its own.
  std::uint64_t used_ = 0;  // places with a key
  alignas(kCacheLine) const std::uint64_t lines_;
  const std::uint64_t step_unit_;
  HashLayer* const older_;
};

constexpr std::uint64_t HashLayer::places_for(std::uint64_t entries) {
  const std::uint64_t needed = entries + (entries + 2) / 3;
  if (needed <= kMinPlaces) return kMinPlaces;
  std::uint64_t power = kMinPlaces;
  while (power < needed) power *= 2;
  if (power <= kLargestDoubled) return power;
  const std::uint64_t quarter = power / 8;
  return (needed + quarter - 1) / quarter * quarter;
}

constexpr std::uint64_t HashLayer::bytes_of(std::uint64_t places) { return kHeaderBytes + places * sizeof(Place); }

inline std::uint64_t HashLayer::find(std::uint64_t block, std::uint64_t hash) const {
  const std::uint64_t key = block + 1;
  Place* const line = home(hash);
  std::uint64_t value = 0;
  // Both words of all places are loaded, so that this compiles to moves that depend on a comparison: which place it is
  // cannot be predicted, and a wrong guess costs more than the whole line.
#pragma GCC unroll 4
  for (unsigned i = 0; i < kBlocksPerLine; ++i) {
    const std::uint64_t seen = std::atomic_ref(line[i].key).load(std::memory_order_acquire);
    const std::uint64_t its_value = load_value(line[i]);
    value = seen == key ? its_value : value;
  }
  if (value != 0) [[likely]]
    return value;
  return find_further(block, hash);
}

inline void HashLayer::find_group(std::uint64_t first, std::uint64_t hash,
                                  std::span<std::uint64_t, kBlocksPerLine> values) const {
  Place* const line = home(hash);
  std::uint64_t different = 0;
  for (unsigned i = 0; i < kBlocksPerLine; ++i) {
    different |= std::atomic_ref(line[i].key).load(std::memory_order_acquire) ^ (first + 1 + i);
    values[i] = load_value(line[i]);
  }
  if (different != 0) find_scattered_group(first, hash, values);
}

inline HashLayer::Probe HashLayer::probe(std::uint64_t block, std::uint64_t hash) const {
  const std::uint64_t key = block + 1;
  std::uint64_t line = home_line(hash);
  std::uint64_t examined = 0;
  while (true) {
    Place* in_line = places() + line * kBlocksPerLine;
    for (unsigned i = 0; i < kBlocksPerLine; ++i) {
      Place& place = in_line[(block + i) % kBlocksPerLine];
      const std::uint64_t seen = std::atomic_ref(place.key).load(std::memory_order_acquire);
      ++examined;
      if (seen == key) return {&place, true, examined};
      // The limit leaves free places in every layer, and every line is visited: this ends.
      if (seen == 0) return {&place, false, examined};
    }
    line = next_line(line, hash);
  }
}

}  // namespace remapfs
