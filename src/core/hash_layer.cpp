// SPDX-License-Identifier: Apache-2.0
#include "core/hash_layer.hpp"

#include <cstddef>
#include <new>

#include "remapfs/error.hpp"

namespace remapfs {

static_assert(sizeof(HashLayer) <= kCacheLine, "the places start at the second line of the allocation");
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

}  // namespace remapfs
