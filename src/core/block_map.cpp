// SPDX-License-Identifier: Apache-2.0
#include "core/block_map.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "remapfs/error.hpp"

namespace remapfs {
namespace {

// Layers up to this many places (1 MiB) may be sparse; larger ones keep to 32 bytes an entry.
constexpr std::uint64_t kSparseUpTo = 65536;
// While memory is refused, every so many changes it is asked for again.
constexpr std::uint64_t kMergeEvery = 64;
// More than memory can hold; keeps the arithmetic below from overflowing.
constexpr std::uint64_t kMaxEntries = std::uint64_t{1} << 40U;

std::uint64_t with_slack(std::uint64_t entries) { return entries + std::max<std::uint64_t>(16, entries / 8); }

}  // namespace

BlockMap::~BlockMap() {
  for (HashLayer* layer = newest(); layer != nullptr;) {
    HashLayer* older = layer->older();
    HashLayer::destroy(memory_, layer);
    layer = older;
  }
  while (retired_ != nullptr) {
    HashLayer* next = retired_->next_retired;
    HashLayer::destroy(memory_, retired_);
    retired_ = next;
  }
}

void BlockMap::find_range(const EpochGuard& guard, std::uint64_t first, std::span<std::uint64_t> values) const {
  const HashLayer* const layer = newest();
  if (layer == nullptr) {
    std::ranges::fill(values, 0);
    return;
  }
  const std::uint64_t end = first + values.size();
  for (std::uint64_t block = first; block < end; block += kBlocksPerLine - block % kBlocksPerLine) {
    layer->prefetch(group_hash(block));
  }
  const bool layered = layer->older() != nullptr;
  for (std::uint64_t block = first; block < end;) {
    const std::uint64_t group = round_down(block, kBlocksPerLine);
    const std::uint64_t stop = std::min(end, group + kBlocksPerLine);
    if (layered) {
      for (; block < stop; ++block) values[block - first] = find(guard, block);
      continue;
    }
    std::array<std::uint64_t, kBlocksPerLine> of_group;
    layer->find_group(group, group_hash(group), of_group);
    for (; block < stop; ++block) values[block - first] = of_group[block - group];
  }
}

std::optional<BlockIndex> BlockMap::scan_for_first(const EpochGuard& /*guard*/, BlockRange range) const {
  std::optional<BlockIndex> first;
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
    layer->for_each([&](std::uint64_t block, std::uint64_t /*value*/) {
      if (range.contains(BlockIndex(block)) && (!first || BlockIndex(block) < *first)) first = BlockIndex(block);
      return true;
    });
  }
  return first;
}

std::uint64_t BlockMap::place_count(const EpochGuard& /*guard*/) const {
  std::uint64_t count = 0;
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) count += layer->place_count();
  return count;
}

HashLayer::Place* BlockMap::place_of(std::uint64_t block, std::uint64_t hash) const {
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
    const HashLayer::Probe at = layer->probe(block, hash);
    if (at.found) return at.place;
  }
  return nullptr;
}

bool BlockMap::reserve(std::uint64_t count) {
  free_retired();
  if (count > kMaxEntries || reserved_ + count > kMaxEntries) return false;
  if (layered()) static_cast<void>(rebuild(fitting_places(count)));
  if (!make_room(count)) return false;
  reserved_ += count;
  trim();
  return true;
}

void BlockMap::unreserve(std::uint64_t count) {
  if (count == 0 || reserved_ == 0) return;
  reserved_ -= std::min(count, reserved_);
  trim();
}

bool BlockMap::put(std::uint64_t block, std::uint64_t value) {
  REMAPFS_INVARIANT(value != 0);
  free_retired();
  if (reserved_ == 0) merge_now_and_then();
  const std::uint64_t hash = group_hash(block);
  if (HashLayer::Place* place = place_of(block, hash)) {
    if (HashLayer::load_value(*place) == 0) size_.fetch_add(1, std::memory_order_seq_cst);
    HashLayer::store_value(*place, value);
    return true;
  }
  if (room() == 0 && !make_room(1)) return false;
  HashLayer* layer = newest();
  while (layer->room() == 0) layer = layer->older();
  size_.fetch_add(1, std::memory_order_seq_cst);
  layer->occupy(*layer->probe(block, hash).place, block, value);
  return true;
}

std::uint64_t BlockMap::erase(std::uint64_t block) {
  HashLayer::Place* place = place_of(block, group_hash(block));
  if (place == nullptr) return 0;
  const std::uint64_t value = HashLayer::load_value(*place);
  if (value == 0) return 0;
  HashLayer::store_value(*place, 0);
  size_.fetch_sub(1, std::memory_order_seq_cst);
  free_retired();
  merge_now_and_then();
  trim();
  return value;
}

std::uint64_t BlockMap::memory_bytes() {
  free_retired();
  std::uint64_t bytes = 0;
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
    bytes += HashLayer::bytes_of(layer->place_count());
  }
  for (const HashLayer* layer = retired_; layer != nullptr; layer = layer->next_retired) {
    bytes += HashLayer::bytes_of(layer->place_count());
  }
  return bytes;
}

bool BlockMap::layered() const {
  const HashLayer* layer = newest();
  return layer != nullptr && layer->older() != nullptr;
}

std::uint64_t BlockMap::room() const {
  std::uint64_t room = 0;
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) room += layer->room();
  return room;
}

std::uint64_t BlockMap::probe_length(std::uint64_t block) const {
  const std::uint64_t hash = group_hash(block);
  std::uint64_t examined = 0;
  for (const HashLayer* layer = newest(); layer != nullptr; layer = layer->older()) {
    const HashLayer::Probe at = layer->probe(block, hash);
    examined += at.examined;
    if (at.found) break;
  }
  return examined;
}

std::uint64_t BlockMap::fitting_places(std::uint64_t more) const {
  return HashLayer::places_for(with_slack(size() + reserved_ + more));
}

bool BlockMap::make_room(std::uint64_t count) {
  const std::uint64_t wanted = reserved_ + count;
  if (newest() != nullptr && room() >= wanted) return true;
  const std::uint64_t places = fitting_places(count);
  return rebuild(places) || add_overflow_layers(std::bit_floor(places - 1), wanted);
}

bool BlockMap::add_overflow_layers(std::uint64_t largest, std::uint64_t wanted_room) {
  HashLayer* const before = newest();
  for (std::uint64_t places = largest; places >= HashLayer::kMinPlaces && room() < wanted_room;) {
    if (HashLayer* layer = HashLayer::create(memory_, places, newest())) {
      publish(layer);
    } else {
      places /= 2;
    }
  }
  if (room() >= wanted_room) {
    changes_until_merge_ = kMergeEvery;
    return true;
  }
  // Not enough for what was asked: what was got may be sorely missed elsewhere.
  HashLayer* const got = newest();
  publish(before);
  retire(got, before);
  return false;
}

bool BlockMap::rebuild(std::uint64_t places) {
  HashLayer* fresh = HashLayer::create(memory_, places, nullptr);
  if (fresh == nullptr) return false;
  std::uint64_t left = size();
  for (const HashLayer* layer = newest(); layer != nullptr && left != 0; layer = layer->older()) {
    layer->for_each([&](std::uint64_t block, std::uint64_t value) {
      fresh->occupy(*fresh->probe(block, group_hash(block)).place, block, value);
      return --left != 0;
    });
  }
  HashLayer* const old = newest();
  publish(fresh);
  retire(old, nullptr);
  return true;
}

void BlockMap::retire(HashLayer* from, const HashLayer* end) {
  if (from == end) return;
  const std::uint64_t tag = advance_epoch();
  for (HashLayer* layer = from; layer != end; layer = layer->older()) {
    layer->retired_in = tag;
    layer->next_retired = retired_;
    retired_ = layer;
  }
  free_retired();
}

void BlockMap::free_retired() {
  for (HashLayer** link = &retired_; *link != nullptr;) {
    HashLayer* layer = *link;
    if (readers_left(layer->retired_in)) {
      *link = layer->next_retired;
      HashLayer::destroy(memory_, layer);
    } else {
      link = &layer->next_retired;
    }
  }
}

void BlockMap::merge_now_and_then() {
  if (!layered()) return;
  if (changes_until_merge_ != 0) {
    --changes_until_merge_;
    return;
  }
  changes_until_merge_ = kMergeEvery;
  static_cast<void>(rebuild(fitting_places(0)));
}

void BlockMap::trim() {
  const HashLayer* layer = newest();
  if (layer == nullptr) return;
  std::uint64_t places = 0;
  for (; layer != nullptr; layer = layer->older()) places += layer->place_count();
  if (places <= HashLayer::kMinPlaces) return;
  const std::uint64_t held = size() + reserved_;
  // Both bounds leave room for many changes between two rebuilds in either direction.
  const bool sparse = places > kSparseUpTo ? held < places / 16 * 9 : held < places / 16 * 3;
  if (!sparse) return;
  const std::uint64_t smaller = fitting_places(0);
  if (smaller < places) static_cast<void>(rebuild(smaller));
}

}  // namespace remapfs
