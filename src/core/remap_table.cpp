// SPDX-License-Identifier: Apache-2.0
#include "remapfs/remap_table.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <span>

#include "core/block_map.hpp"
#include "core/epoch.hpp"
#include "core/packed_mapping.hpp"
#include "core/region_filter.hpp"
#include "core/remap_table_factory.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs {
namespace {

// Blocks probed at once: a request of 1 MiB in 4 KiB blocks, 2 KiB of stack.
constexpr std::uint64_t kBatch = 256;
// An erase looks at no more than this many blocks or places to find out whether its region is empty now.
constexpr std::uint64_t kSweepBlocks = 4096;
constexpr std::uint64_t kSweepPlaces = 16384;
// How far ahead of its use an entry's place is asked for: enough lines under way to hide the latency of memory.
constexpr std::size_t kPrefetched = 16;

}  // namespace

struct RemapTable::Impl {
  Impl(std::uint64_t blocks, BlockGeometry block_geometry, MemorySource& memory)
      : block_count(blocks), geometry(block_geometry), filter(memory, blocks), entries(memory), masks(memory) {}

  // The words of the blocks first, first + 1, ... Regions that the filter knows to be empty are not probed.
  void load(std::uint64_t first, std::span<std::uint64_t> words) const {
    std::fill(words.begin(), words.end(), 0);
    const std::uint64_t end = first + words.size();
    const std::uint64_t end_region = filter.region_of(BlockIndex(end - 1)) + 1;
    const EpochGuard guard;
    std::uint64_t from = first;
    while (from < end) {
      const auto region = filter.next_marked(filter.region_of(BlockIndex(from)), end_region);
      if (!region) return;
      // Neighbouring marked regions are probed in one go.
      std::uint64_t after = *region + 1;
      while (after < end_region && filter.marked(filter.blocks_of(after).begin)) ++after;
      from = std::max(from, filter.blocks_of(*region).begin.value());
      const std::uint64_t stop = std::min(end, filter.blocks_of(after).begin.value());
      entries.find_range(guard, from, words.subspan(from - first, stop - from));
      from = stop;
    }
  }

  // The first block of the range with an entry, by probing every block.
  std::optional<BlockIndex> probe_for_first(BlockRange range) const {
    std::array<std::uint64_t, kBatch> words;
    for (std::uint64_t first = range.begin.value(); first < range.end.value();) {
      const std::uint64_t count = std::min(kBatch, range.end.value() - first);
      {
        const EpochGuard guard;
        entries.find_range(guard, first, std::span(words).first(count));
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        if (words[i] != 0) return BlockIndex(first + i);
      }
      first += count;
    }
    return std::nullopt;
  }

  std::uint64_t places() const {
    const EpochGuard guard;
    return entries.place_count(guard);
  }

  void prefetch(BlockIndex block) const REQUIRES(mutex) { entries.prefetch(block.value()); }

  void assign(BlockIndex block, const Mapping& mapping) REQUIRES(mutex) {
    REMAPFS_INVARIANT(block.value() < block_count);
    const PackedMapping packed(mapping, geometry.full_mask());
    filter.mark(filter.region_of(block));
    if (packed.mask_is_partial()) REMAPFS_INVARIANT(masks.put(block.value(), mapping.valid_mask));
    REMAPFS_INVARIANT(entries.put(block.value(), packed.word()));
    if (!packed.mask_is_partial()) masks.erase(block.value());
    entries.settle();
    // A reservation for a mask is kept as long as an entry may still come that needs it.
    if (packed.mask_is_partial() || masks.reserved() > entries.reserved()) masks.settle();
  }

  // Takes the mark off the region of an erased block if nothing is left there. A region too large to be looked
  // through keeps its mark until the table is empty, which costs its readers a probe.
  void update_filter_after_erase(BlockIndex block) REQUIRES(mutex) {
    if (entries.size() == 0) return filter.clear_all();
    const std::uint64_t region = filter.region_of(block);
    const BlockRange range = filter.blocks_of(region);
    std::optional<BlockIndex> left;
    if (range.size() <= kSweepBlocks) {
      left = probe_for_first(range);
    } else if (places() <= kSweepPlaces) {
      const EpochGuard guard;
      left = entries.scan_for_first(guard, range);
    } else {
      return;
    }
    if (!left) filter.clear(region);
  }

  const std::uint64_t block_count;
  const BlockGeometry geometry;

  // Held by every changing member, from before its first change to after its last. Innermost lock: nothing is called
  // under it but core (and the visitor of for_each).
  mutable Mutex mutex;
  RegionFilter filter;  // marked before an entry is published, cleared after the last one of the region has gone
  BlockMap entries;     // block -> PackedMapping
  // block -> mask, where the packed word says that the mask is partial. Set before the word says so, erased after it
  // has ceased to.
  mutable BlockMap masks;
};

RemapTable::RemapTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemapTable::~RemapTable() = default;

Result<std::unique_ptr<RemapTable>> RemapTable::create(std::uint64_t block_count, BlockGeometry geometry) {
  return RemapTableFactory::create(block_count, geometry, process_memory());
}

Result<std::unique_ptr<RemapTable>> RemapTableFactory::create(std::uint64_t block_count, BlockGeometry geometry,
                                                              MemorySource& memory) {
  if (block_count > RemapTable::kMaxBlocks) return fail(Errc::invalid);
  std::unique_ptr<RemapTable::Impl> impl(new (std::nothrow) RemapTable::Impl(block_count, geometry, memory));
  if (!impl || !impl->filter.ready()) return fail(Errc::no_memory);
  if (!impl->entries.reserve(1)) return fail(Errc::no_memory);
  impl->entries.unreserve(1);
  std::unique_ptr<RemapTable> table(new (std::nothrow) RemapTable(std::move(impl)));
  if (!table) return fail(Errc::no_memory);
  return table;
}

std::optional<Mapping> RemapTable::find(BlockIndex block) const {
  const Impl& impl = *impl_;
  if (!impl.filter.marked(block)) return std::nullopt;
  const SectorMask full = impl.geometry.full_mask();
  while (true) {
    const EpochGuard guard;
    const PackedMapping packed(impl.entries.find(guard, block.value()));
    if (!packed.present()) return std::nullopt;
    if (!packed.mask_is_partial()) return packed.unpack(full, 0);
    const SectorMask mask = impl.masks.find(guard, block.value());
    // No mask means that the word changed meanwhile (masks outlive the words that need them): look again.
    if (mask != 0) return packed.unpack(full, mask);
  }
}

bool RemapTable::nothing_mapped(BlockRange range) const {
  return impl_->entries.size() == 0 || impl_->filter.nothing_in(range);
}

bool RemapTable::visit_runs(ByteRange range, RunVisitor visit, void* visitor) const {
  if (range.empty()) return true;
  const BlockGeometry& geometry = impl_->geometry;
  const BlockRange blocks = geometry.blocks_touching(range);
  if (nothing_mapped(blocks)) return visit(visitor, Run{RunKind::primary, range, {}});

  Run run;                // the run that is being put together; empty before the first block
  SlotAddress next_slot;  // the slot that would continue a slot run
  std::array<std::uint64_t, kBatch> words;
  for (std::uint64_t first = blocks.begin.value(); first < blocks.end.value();) {
    const std::uint64_t count = std::min(kBatch, blocks.end.value() - first);
    impl_->load(first, std::span(words).first(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      const PackedMapping packed(words[i]);
      const RunKind kind = packed.run_kind();
      const ByteOffset begin = std::max(range.begin, geometry.begin_of(BlockIndex(first + i)));
      const bool continues = begin != range.begin && kind == run.kind &&
                             (kind == RunKind::primary || (kind == RunKind::slot && packed.where() == next_slot));
      if (!continues) {
        run.range.end = begin;
        if (begin != range.begin && !visit(visitor, run)) return false;
        run = {kind, {begin, begin}, kind == RunKind::slot ? packed.where() : SlotAddress{}};
      }
      if (kind == RunKind::slot) next_slot = {packed.where().spare, packed.where().slot + 1};
    }
    first += count;
  }
  run.range.end = range.end;
  return visit(visitor, run);
}

Result<void> RemapTable::reserve(std::uint64_t count, std::uint64_t partial) {
  const MutexLock lock(impl_->mutex);
  if (!impl_->entries.reserve(count)) return fail(Errc::no_memory);
  if (!impl_->masks.reserve(partial)) {
    impl_->entries.unreserve(count);
    return fail(Errc::no_memory);
  }
  return {};
}

void RemapTable::unreserve(std::uint64_t count) {
  const MutexLock lock(impl_->mutex);
  impl_->entries.unreserve(count);
  impl_->masks.unreserve(count);
}

void RemapTable::assign(std::span<const TableEntry> entries) {
  Impl& impl = *impl_;
  const MutexLock lock(impl.mutex);
  for (std::size_t i = 0; i < std::min(kPrefetched, entries.size()); ++i) impl.prefetch(entries[i].block);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i + kPrefetched < entries.size()) impl.prefetch(entries[i + kPrefetched].block);
    impl.assign(entries[i].block, entries[i].mapping);
  }
}

bool RemapTable::erase(BlockIndex block) {
  Impl& impl = *impl_;
  const MutexLock lock(impl.mutex);
  if (impl.entries.erase(block.value()) == 0) return false;
  impl.masks.erase(block.value());
  impl.update_filter_after_erase(block);
  return true;
}

std::optional<BlockIndex> RemapTable::next_entry(BlockIndex from, BlockIndex end) const {
  const Impl& impl = *impl_;
  end = std::min(end, BlockIndex(impl.block_count));
  if (from >= end || size() == 0) return std::nullopt;
  const std::uint64_t end_region = impl.filter.region_of(end - 1) + 1;
  while (from < end) {
    const auto region = impl.filter.next_marked(impl.filter.region_of(from), end_region);
    if (!region) return std::nullopt;
    const BlockRange candidates = impl.filter.blocks_of(*region);
    if (candidates.size() > impl.places()) {
      const EpochGuard guard;
      return impl.entries.scan_for_first(guard, {from, end});
    }
    const BlockRange part{std::max(from, candidates.begin), std::min(end, candidates.end)};
    if (const auto found = impl.probe_for_first(part)) return found;
    from = part.end;
  }
  return std::nullopt;
}

void RemapTable::for_each(const std::function<void(BlockIndex, const Mapping&)>& visit) const {
  const Impl& impl = *impl_;
  const SectorMask full = impl.geometry.full_mask();
  const MutexLock lock(impl.mutex);
  impl.entries.for_each([&](std::uint64_t block, std::uint64_t word) {
    const PackedMapping packed(word);
    SectorMask mask = 0;
    if (packed.mask_is_partial()) {
      const EpochGuard guard;
      mask = impl.masks.find(guard, block);
    }
    visit(BlockIndex(block), packed.unpack(full, mask));
  });
}

std::uint64_t RemapTable::size() const { return impl_->entries.size(); }

std::uint64_t RemapTable::memory_bytes() const {
  Impl& impl = *impl_;
  const MutexLock lock(impl.mutex);
  return sizeof(RemapTable) + sizeof(Impl) + impl.filter.memory_bytes() + impl.entries.memory_bytes() +
         impl.masks.memory_bytes();
}

bool RemapTable::growth_refused() const {
  const MutexLock lock(impl_->mutex);
  return impl_->entries.layered() || impl_->masks.layered();
}

}  // namespace remapfs
