// SPDX-License-Identifier: Apache-2.0
#include "remapfs/dirty_map.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace remapfs {

Result<std::unique_ptr<DirtyMap>> DirtyMap::create(ByteCount size, const BlockGeometry& geometry,
                                                   std::uint64_t most_granules) {
  unsigned shift = geometry.shift();
  while ((size.value() - 1) >> shift >= most_granules) ++shift;
  const std::uint64_t granules = ((size.value() - 1) >> shift) + 1;
  std::unique_ptr<Word[]> words(new (std::nothrow) Word[(granules + kBits - 1) / kBits]());
  if (!words)
    return fail(Errc::no_memory, "no memory to note what is written meanwhile, a copy of the disk, free some");
  std::unique_ptr<DirtyMap> map(new (std::nothrow) DirtyMap(size, shift, std::move(words)));
  if (!map) return fail(Errc::no_memory);
  map->mark({ByteOffset(0), ByteOffset(size.value())});
  return map;
}

template <class Visit>
void DirtyMap::for_each_word(std::uint64_t begin, std::uint64_t end, Visit&& visit) {
  while (begin < end) {
    const std::uint64_t first = begin % kBits;
    const std::uint64_t count = std::min(kBits - first, end - begin);
    const std::uint64_t mask = count == kBits ? ~std::uint64_t{0} : ((std::uint64_t{1} << count) - 1) << first;
    visit(words_[begin / kBits], mask);
    begin += count;
  }
}

void DirtyMap::mark(ByteRange range) {
  const std::uint64_t last = std::min(range.end.value(), size_.value());
  if (range.begin.value() >= last) return;
  for_each_word(range.begin.value() >> shift_, ((last - 1) >> shift_) + 1, [&](Word& word, std::uint64_t mask) {
    // Never only looked at: what is seen of a bit that is being taken may be older than the change.
    const std::uint64_t before = word.fetch_or(mask, std::memory_order_acq_rel);
    dirty_.fetch_add(static_cast<std::uint64_t>(std::popcount(mask & ~before)), std::memory_order_relaxed);
  });
}

std::uint64_t DirtyMap::find(std::uint64_t from, std::uint64_t end, bool set) const {
  while (from < end) {
    std::uint64_t word = words_[from / kBits].load(std::memory_order_relaxed);
    if (!set) word = ~word;
    word >>= from % kBits;
    if (word != 0) return std::min(end, from + static_cast<std::uint64_t>(std::countr_zero(word)));
    from = round_down(from, kBits) + kBits;
  }
  return end;
}

std::optional<ByteRange> DirtyMap::take(ByteOffset from, std::uint64_t most) {
  const std::uint64_t end = granules();
  const std::uint64_t first = find(std::min(end, from.value() >> shift_), end, true);
  if (first == end) return std::nullopt;
  const std::uint64_t last = find(first, std::min(end, first + std::max<std::uint64_t>(1, most >> shift_)), false);
  for_each_word(first, last, [&](Word& word, std::uint64_t mask) {
    const std::uint64_t before = word.fetch_and(~mask, std::memory_order_acq_rel);
    dirty_.fetch_sub(static_cast<std::uint64_t>(std::popcount(mask & before)), std::memory_order_relaxed);
  });
  return ByteRange{ByteOffset(first << shift_), ByteOffset(std::min(last << shift_, size_.value()))};
}

}  // namespace remapfs
