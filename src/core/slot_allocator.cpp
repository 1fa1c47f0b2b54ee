// SPDX-License-Identifier: Apache-2.0
#include "core/slot_allocator.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <stdexcept>

#include "remapfs/remap_table.hpp"

namespace remapfs {
namespace {

// Free rows that try_allocate_run() looks at before it takes the longest.
constexpr int kRowsLookedAt = 16;

constexpr std::uint64_t bit(std::uint64_t index) { return std::uint64_t{1} << (index % 64); }

}  // namespace

SearchableBitmap::SearchableBitmap(std::uint64_t size) : size_(size) {
  std::uint64_t bits = size;
  do {
    const std::uint64_t words = (bits + 63) / 64;
    std::vector<std::uint64_t>& level = levels_.emplace_back(words, ~std::uint64_t{0});
    if (bits % 64 != 0) level.back() = bit(bits) - 1;
    bits = words;
  } while (bits > 1);
}

bool SearchableBitmap::contains(std::uint64_t index) const {
  return index < size_ && (levels_.front()[index / 64] & bit(index)) != 0;
}

void SearchableBitmap::insert(std::uint64_t index) {
  for (std::vector<std::uint64_t>& level : levels_) {
    level[index / 64] |= bit(index);
    index /= 64;
  }
}

void SearchableBitmap::remove(std::uint64_t index) {
  for (std::vector<std::uint64_t>& level : levels_) {
    level[index / 64] &= ~bit(index);
    if (level[index / 64] != 0) return;
    index /= 64;
  }
}

std::optional<std::uint64_t> SearchableBitmap::next(std::uint64_t from) const {
  if (from >= size_) return std::nullopt;
  // Up until a word has a member at or after the place asked for, then down along the first members.
  for (std::size_t depth = 0; depth < levels_.size(); ++depth) {
    if (from / 64 >= levels_[depth].size()) return std::nullopt;
    const std::uint64_t rest = levels_[depth][from / 64] & (~std::uint64_t{0} << (from % 64));
    if (rest == 0) {
      from = from / 64 + 1;
      continue;
    }
    std::uint64_t index = from / 64 * 64 + static_cast<unsigned>(std::countr_zero(rest));
    while (depth-- > 0) index = index * 64 + static_cast<unsigned>(std::countr_zero(levels_[depth][index]));
    return index;
  }
  return std::nullopt;
}

Result<std::unique_ptr<SlotAllocator>> SlotAllocator::create(std::uint64_t slots) {
  if (slots > kMaxSlotsPerSpare) return fail(Errc::invalid);
  try {
    return std::unique_ptr<SlotAllocator>(new SlotAllocator(slots));
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory);
  } catch (const std::length_error&) {
    return fail(Errc::no_memory);
  }
}

SlotAllocator::SlotAllocator(std::uint64_t slots)
    : total_(slots), free_(slots), retired_(slots, false), free_count_(slots) {}

std::optional<std::uint64_t> SlotAllocator::next_free(std::uint64_t from) const {
  const auto found = free_.next(from);
  return found ? found : free_.next(0);
}

void SlotAllocator::take(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t slot = first; slot < first + count; ++slot) free_.remove(slot);
  free_count_ -= count;
  cursor_ = first + count;
}

std::optional<SlotIndex> SlotAllocator::try_allocate() {
  const MutexLock lock(mutex_);
  const auto slot = next_free(cursor_);
  if (!slot) return std::nullopt;
  take(*slot, 1);
  return SlotIndex(*slot);
}

std::optional<SlotRun> SlotAllocator::try_allocate_run(std::uint64_t count) {
  const MutexLock lock(mutex_);
  count = std::min(count, total_);
  if (count == 0) return std::nullopt;
  SlotRun best;
  std::uint64_t from = cursor_;
  for (int row = 0; row < kRowsLookedAt && best.count < count; ++row) {
    const auto first = next_free(from);
    if (!first) return std::nullopt;
    std::uint64_t end = *first + 1;
    while (end < *first + count && free_.contains(end)) ++end;
    if (end - *first > best.count) best = {SlotIndex(*first), end - *first};
    from = end;
  }
  take(best.first.value(), best.count);
  return best;
}

void SlotAllocator::skip(std::uint64_t slots) {
  const MutexLock lock(mutex_);
  if (total_ != 0) cursor_ = (cursor_ + slots) % total_;
}

bool SlotAllocator::mark_used(SlotIndex slot) {
  const MutexLock lock(mutex_);
  if (!free_.contains(slot.value())) return false;
  const std::uint64_t cursor = std::max(cursor_, slot.value() + 1);
  take(slot.value(), 1);
  cursor_ = cursor;
  return true;
}

void SlotAllocator::release(SlotIndex slot) {
  const MutexLock lock(mutex_);
  REMAPFS_INVARIANT(slot.value() < total_);
  REMAPFS_INVARIANT(!free_.contains(slot.value()));
  if (retired_[slot.value()]) return;
  free_.insert(slot.value());
  ++free_count_;
}

bool SlotAllocator::retire(SlotIndex slot) {
  const MutexLock lock(mutex_);
  if (slot.value() >= total_ || retired_[slot.value()]) return false;
  if (free_.contains(slot.value())) {
    free_.remove(slot.value());
    --free_count_;
  }
  retired_[slot.value()] = true;
  ++retired_count_;
  return true;
}

std::uint64_t SlotAllocator::usable() const {
  const MutexLock lock(mutex_);
  return total_ - retired_count_;
}

std::uint64_t SlotAllocator::free() const {
  const MutexLock lock(mutex_);
  return free_count_;
}

}  // namespace remapfs
