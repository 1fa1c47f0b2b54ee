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
#include "core/run_map.hpp"
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

namespace {

// What is known of some neighbouring blocks: the runs of their windows, and the words of the blocks outside of these.
struct Batch {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::array<std::uint64_t, kBatch> words;
  std::array<std::uint64_t, kBatch / WindowRun::kWindow + 1> runs;  // beginning with the window of `first`

  [[nodiscard]] std::uint64_t end() const { return first + count; }
  [[nodiscard]] WindowRun run_near(std::uint64_t block) const {
    return WindowRun(runs[RunMap::window_of(block) - RunMap::window_of(first)]);
  }
};

// Puts runs together from pieces that come in order, and hands them on.
class RunJoiner {
 public:
  // visit(visitor, run) gets the runs of `range`.
  RunJoiner(const BlockGeometry& geometry, ByteRange range, bool (*visit)(void*, const Run&), void* visitor)
      : geometry_(geometry), range_(range), visit_(visit), visitor_(visitor) {}

  // The next `count` blocks begin at `block` and are served alike; where: the slot of the first of them. False if the
  // visitor has had enough.
  [[nodiscard]] bool add(std::uint64_t block, std::uint64_t count, RunKind kind, SlotAddress where) {
    const bool continues =
        started_ && kind == run_.kind && (kind == RunKind::primary || (kind == RunKind::slot && where == next_slot_));
    if (!continues) {
      const ByteOffset begin = std::max(range_.begin, geometry_.begin_of(BlockIndex(block)));
      if (started_ && !hand_on(begin)) return false;
      run_ = {kind, {begin, begin}, kind == RunKind::slot ? where : SlotAddress{}};
      started_ = true;
    }
    next_slot_ = {where.spare, where.slot + count};
    return true;
  }
  // The last run ends with the range.
  [[nodiscard]] bool finish() { return hand_on(range_.end); }

 private:
  bool hand_on(ByteOffset end) {
    run_.range.end = end;
    return visit_(visitor_, run_);
  }

  const BlockGeometry& geometry_;
  const ByteRange range_;
  bool (*const visit_)(void*, const Run&);
  void* const visitor_;
  bool started_ = false;
  Run run_;
  SlotAddress next_slot_;  // what would continue a run of slots
};

}  // namespace

struct RemapTable::Impl {
  Impl(std::uint64_t blocks, BlockGeometry block_geometry, MemorySource& memory)
      : block_count(blocks),
        geometry(block_geometry),
        full_mask(geometry.full_mask()),
        filter(memory, blocks),
        runs(memory),
        entries(memory),
        masks(memory) {}

  [[nodiscard]] std::uint64_t word_of(BlockIndex block) const {
    const EpochGuard guard;
    const std::uint64_t word = runs.find(guard, block.value());
    return word != 0 ? word : entries.find(guard, block.value());
  }

  // The entry of a block whose mask was partial a moment ago.
  [[nodiscard]] std::optional<Mapping> find_partial(BlockIndex block) const {
    while (true) {
      const PackedMapping packed(word_of(block));
      if (!packed.present()) return std::nullopt;
      if (!packed.mask_is_partial()) return packed.unpack(full_mask, 0);
      const EpochGuard guard;
      const SectorMask mask = masks.find(guard, block.value());
      // No mask means that the word changed meanwhile (masks outlive the words that need them): look again.
      if (mask != 0) return packed.unpack(full_mask, mask);
    }
  }

  // Fills a batch whose `first` and `count` are set. Regions that the filter knows to be empty are not probed.
  void load(Batch& batch) const {
    std::fill_n(batch.words.begin(), batch.count, 0);
    const std::uint64_t end_region = filter.region_of(BlockIndex(batch.end() - 1)) + 1;
    const std::uint64_t first_window = RunMap::window_of(batch.first);
    const std::uint64_t windows = RunMap::window_of(batch.end() - 1) - first_window + 1;
    const EpochGuard guard;
    runs.find_range(guard, first_window, std::span(batch.runs).first(windows));
    for (std::uint64_t from = batch.first; from < batch.end();) {
      const auto region = filter.next_marked(filter.region_of(BlockIndex(from)), end_region);
      if (!region) return;
      // Neighbouring marked regions are probed in one go.
      std::uint64_t after = *region + 1;
      while (after < end_region && filter.marked(filter.blocks_of(after).begin)) ++after;
      from = std::max(from, filter.blocks_of(*region).begin.value());
      const std::uint64_t stop = std::min(batch.end(), filter.blocks_of(after).begin.value());
      load_outside_runs(guard, batch, from, stop);
      from = stop;
    }
  }

  // The words of the blocks [from, stop), as far as no run contains them.
  void load_outside_runs(const EpochGuard& guard, Batch& batch, std::uint64_t from, std::uint64_t stop) const {
    while (from < stop) {
      std::uint64_t until = from;
      while (until < stop && !batch.run_near(until).contains(until)) until = batch.run_near(until).same_until(until);
      until = std::min(until, stop);
      entries.find_range(guard, from, std::span(batch.words).subspan(from - batch.first, until - from));
      from = until;
      while (from < stop && batch.run_near(from).contains(from)) from = batch.run_near(from).same_until(from);
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
    const PackedMapping packed(mapping, full_mask);
    const bool reserved = entries.reserved() != 0;
    filter.mark(filter.region_of(block));
    runs.take_out(block.value());
    if (packed.mask_is_partial()) REMAPFS_INVARIANT(masks.put(block.value(), mapping.valid_mask));
    REMAPFS_INVARIANT(entries.put(block.value(), packed.word()));
    if (!packed.mask_is_partial()) masks.erase(block.value());
    entries.settle();
    // A reservation for a mask is kept as long as an entry may still come that needs it.
    if (packed.mask_is_partial() || masks.reserved() > entries.reserved()) masks.settle();
    runs.put_in(entries, block.value(), packed, !reserved);
    runs.settle(entries.reserved());
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
  const SectorMask full_mask;

  // Held by every changing member, from before its first change to after its last. Innermost lock: nothing is called
  // under it but core (and the visitor of for_each).
  mutable Mutex mutex;
  RegionFilter filter;  // marked before an entry is published, cleared after the last one of the region has gone
  RunMap runs;          // a block is taken out before its entry changes, and put in after
  BlockMap entries;     // block -> PackedMapping
  // block -> mask, where the packed word says that the mask is partial. Set before the word says so, erased after it
  // has ceased to.
  mutable BlockMap masks;
};

RemapTable::RemapTable(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)), geometry_(impl_->geometry), entry_count_(impl_->entries.size_counter()) {}
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
  const PackedMapping packed(impl.word_of(block));
  if (!packed.present()) return std::nullopt;
  if (packed.mask_is_partial()) [[unlikely]]
    return impl.find_partial(block);
  return packed.unpack(impl.full_mask, 0);
}

bool RemapTable::filter_says_nothing(BlockRange range) const { return impl_->filter.nothing_in(range); }

bool RemapTable::visit_runs(ByteRange range, RunVisitor visit, void* visitor) const {
  const BlockRange blocks = impl_->geometry.blocks_touching(range);
  RunJoiner runs(impl_->geometry, range, visit, visitor);
  Batch batch;
  for (batch.first = blocks.begin.value(); batch.first < blocks.end.value(); batch.first += batch.count) {
    batch.count = std::min(kBatch, blocks.end.value() - batch.first);
    impl_->load(batch);
    for (std::uint64_t block = batch.first; block < batch.end();) {
      const WindowRun in_slots = batch.run_near(block);
      if (in_slots.contains(block)) {
        const std::uint64_t until = std::min(batch.end(), in_slots.end(block));
        if (!runs.add(block, until - block, RunKind::slot, in_slots.where(block))) return false;
        block = until;
      } else {
        const PackedMapping packed(batch.words[block - batch.first]);
        if (!runs.add(block, 1, packed.run_kind(), packed.where())) return false;
        ++block;
      }
    }
  }
  return runs.finish();
}

Result<void> RemapTable::reserve(std::uint64_t count, std::uint64_t partial) {
  const MutexLock lock(impl_->mutex);
  if (!impl_->entries.reserve(count)) return fail(Errc::no_memory);
  if (!impl_->masks.reserve(partial)) {
    impl_->entries.unreserve(count);
    return fail(Errc::no_memory);
  }
  impl_->runs.expect(impl_->entries.reserved());
  return {};
}

void RemapTable::unreserve(std::uint64_t count) {
  const MutexLock lock(impl_->mutex);
  impl_->entries.unreserve(count);
  impl_->masks.unreserve(count);
  impl_->runs.expect(impl_->entries.reserved());
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
  impl.runs.take_out(block.value());
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
  const MutexLock lock(impl.mutex);
  impl.entries.for_each([&](std::uint64_t block, std::uint64_t word) {
    const PackedMapping packed(word);
    SectorMask mask = 0;
    if (packed.mask_is_partial()) {
      const EpochGuard guard;
      mask = impl.masks.find(guard, block);
    }
    visit(BlockIndex(block), packed.unpack(impl.full_mask, mask));
  });
}

std::uint64_t RemapTable::memory_bytes() const {
  Impl& impl = *impl_;
  const MutexLock lock(impl.mutex);
  return sizeof(RemapTable) + sizeof(Impl) + impl.filter.memory_bytes() + impl.runs.memory_bytes() +
         impl.entries.memory_bytes() + impl.masks.memory_bytes();
}

bool RemapTable::growth_refused() const {
  const MutexLock lock(impl_->mutex);
  return impl_->entries.layered() || impl_->masks.layered();
}

}  // namespace remapfs
