// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "remapfs/units.hpp"
#include "store/spare_format.hpp"

namespace remapfs::store {

// What the map expects of a spare: of each slot one 64-bit number, 0 for "no row", and the totals of its rows.
//
// Memory: 8 bytes a slot, in chunks of 512 slots that exist only where rows are.
class SlotHashes {
 public:
  explicit SlotHashes(std::uint64_t slots) : chunks_((slots + kChunk - 1) / kChunk) {}

  [[nodiscard]] std::uint64_t at(SlotIndex slot) const {
    const auto& chunk = chunks_[slot.value() / kChunk];
    return chunk ? (*chunk)[slot.value() % kChunk] : 0;
  }
  // Asks for the memory of a slot's place.
  void prefetch(SlotIndex slot) const {
    if (const auto& chunk = chunks_[slot.value() / kChunk]) __builtin_prefetch(&(*chunk)[slot.value() % kChunk], 1);
  }
  // False when the slot has a number already.
  bool set(SlotIndex slot, std::uint64_t hash) {
    auto& chunk = chunks_[slot.value() / kChunk];
    if (!chunk) chunk = std::make_unique<Chunk>();
    std::uint64_t& place = (*chunk)[slot.value() % kChunk];
    if (place != 0) return false;
    place = hash;
    return true;
  }

  RowTotals totals;  // kept by who enters the rows

 private:
  static constexpr std::uint64_t kChunk = 512;
  using Chunk = std::array<std::uint64_t, kChunk>;
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

}  // namespace remapfs::store
