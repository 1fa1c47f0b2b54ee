// SPDX-License-Identifier: Apache-2.0
#include "core/hash_layer.hpp"

#include <algorithm>
#include <cstddef>
#include <new>

#include "remapfs/error.hpp"

namespace remapfs {

static_assert(sizeof(HashLayer) <= 2 * kCacheLine, "the places start at the third line of the allocation");
static_assert(sizeof(HashLayer::Place) * kBlocksPerLine == kCacheLine);
static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free);

HashLayer* HashLayer::create(MemorySource& memory, std::uint64_t places, HashLayer* older) noexcept {
  REMAPFS_INVARIANT(places >= kMinPlaces && places % kBlocksPerLine == 0);
  // The home line is computed from 32 bits of hash.
  if (places / kBlocksPerLine > 0xffffffffU) return nullptr;
  void* raw = memory.allocate(bytes_of(places));
  if (raw == nullptr) return nullptr;
  return new (raw) HashLayer(places, older);
}

void HashLayer::destroy(MemorySource& memory, HashLayer* layer) noexcept {
  const std::uint64_t bytes = bytes_of(layer->place_count());
  layer->~HashLayer();
  memory.release(layer, bytes);
}

void HashLayer::find_scattered_group(std::uint64_t first, std::uint64_t hash,
                                     std::span<std::uint64_t, kBlocksPerLine> values) const {
  std::ranges::fill(values, 0);
  unsigned missing = kBlocksPerLine;
  std::uint64_t line = home_line(hash);
  while (true) {
    bool full = true;
    for (unsigned i = 0; i < kBlocksPerLine; ++i) {
      Place& place = places()[line * kBlocksPerLine + i];
      const std::uint64_t key = std::atomic_ref(place.key).load(std::memory_order_acquire);
      full &= key != 0;
      const std::uint64_t index = key - 1 - first;
      if (index >= kBlocksPerLine) continue;
      values[index] = load_value(place);
      --missing;
    }
    // Nothing goes further on while a line before has a free place.
    if (!full || missing == 0) return;
    line = next_line(line, hash);
  }
}

std::uint64_t HashLayer::find_further(std::uint64_t block, std::uint64_t hash) const {
  const Probe at = probe(block, hash);
  return at.found ? load_value(*at.place) : 0;
}

}  // namespace remapfs
