// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Number of a spare within its volume: the `id` of its row in `devices`. The primary is 0, spares count from 1.
using SpareId = std::uint8_t;
inline constexpr std::uint64_t kMaxSlotsPerSpare = std::uint64_t{1} << 48U;

// Where a slot is.
struct SlotAddress {
  SpareId spare = 0;
  SlotIndex slot;

  friend constexpr auto operator<=>(SlotAddress, SlotAddress) = default;
};

// What an entry says of its block.
enum class EntryState : std::uint8_t {
  weak,      // no slot; the primary can be read, after retries
  lost,      // no slot; sectors with a clear bit in valid_mask cannot be read
  remapped,  // the block's data is in its slot; sectors with a clear bit cannot be read
  poisoned,  // in memory only: every access fails, since a commit is unfinished, or its outcome unknown
};

// One entry of the table.
struct Mapping {
  EntryState state = EntryState::weak;
  SlotAddress where;          // meaningful when state is remapped
  SectorMask valid_mask = 0;  // the block size's full mask when everything can be read

  friend constexpr bool operator==(const Mapping&, const Mapping&) = default;
};

// A block and its entry.
struct TableEntry {
  BlockIndex block;
  Mapping mapping;
};

// How a part of a request is to be served.
enum class RunKind : std::uint8_t {
  primary,    // no entry, or a weak one: the primary holds the data
  slot,       // a slot holds the data and every sector of it is valid
  attention,  // lost, partly valid or poisoned: the slow road decides, block by block
};

// A maximal part of a request that one device access can serve. An `attention` run is one block or a part of one.
struct Run {
  RunKind kind = RunKind::primary;
  ByteRange range;         // on the virtual disk
  SlotAddress first_slot;  // kind == slot: where the block holding range.begin lives; further blocks follow it
};

// The remap hash table: block -> Mapping, for 64-bit block numbers.
//
// Threads: find(), for_each_run() and nothing_mapped() from any number of threads, lock-free, at any time; a reader
//   sees each entry either before or after a change, never a mixture of two blocks. Changing members are serialised
//   by a mutex inside.
//   The mask of a partly valid block is exact only while the caller excludes changes to that block.
// Cost: nothing_mapped() is a few nanoseconds whatever the number of entries elsewhere; find() is O(1). Growth copies
//   under the writers' mutex and never stops readers.
// Memory: starts with 64 places, doubles and halves, from 1 MiB on in steps of a quarter: at most 32 bytes an entry
// when
//   large, and a filter of at most 4.1 MiB. When memory for growth is refused, entries go into smaller overflow layers:
//   lookups get slower, growth_refused() says so, nothing is lost; growth is tried again now and then.
class RemapTable {
 public:
  // 2^64 bytes in the smallest blocks.
  static constexpr std::uint64_t kMaxBlocks = std::uint64_t{1} << 55U;

  // block_count: blocks of the disk, sizes the filter. geometry: how bytes map to blocks.
  // Errors: no_memory; invalid when block_count is above kMaxBlocks.
  static Result<std::unique_ptr<RemapTable>> create(std::uint64_t block_count, BlockGeometry geometry);
  // No other thread may be inside any more.
  ~RemapTable();
  RemapTable(const RemapTable&) = delete;
  RemapTable& operator=(const RemapTable&) = delete;

  // The entry of a block, if it has one.
  [[nodiscard]] std::optional<Mapping> find(BlockIndex block) const;

  // True when no block of the range has an entry. May answer false for a range without entries; never true for one
  // with an entry.
  [[nodiscard]] bool nothing_mapped(BlockRange range) const { return size() == 0 || filter_says_nothing(range); }

  // Calls visit(const Run&) for the runs that make up `range`, in order, without gaps or overlaps, cut at every
  // boundary where the way of serving changes. Neighbouring blocks in neighbouring slots of one spare are one run.
  // Stops early when visit returns false. Returns false if it was stopped. A first or last block that the range covers
  // only in part is part of its run. Nothing is called for an empty range.
  // visit may take its time and may use the table: no lock and no memory is held while it runs.
  // Cost: allocates nothing; one probe of the filter when nothing is mapped, else the table is probed in batches.
  template <class Visit>
  bool for_each_run(ByteRange range, Visit&& visit) const {
    using Visitor = std::remove_reference_t<Visit>;
    if (range.empty()) return true;
    if (nothing_mapped(geometry_.blocks_touching(range))) return visit(Run{RunKind::primary, range, {}});
    return visit_runs(
        range, [](void* visitor, const Run& run) -> bool { return (*static_cast<Visitor*>(visitor))(run); },
        const_cast<void*>(static_cast<const void*>(std::addressof(visit))));
  }

  // Makes room for `count` further assign() calls, so that they cannot fail. Errors: no_memory.
  // A change that has been made durable must be able to enter the table: call this before the commit.
  // Reservations of several threads add up. Every assign() uses one up if any is outstanding, whoever made it; so
  // either every assign() of a table has its reservation or, as while the map is loaded, none has. Calls of erase() in
  // between change nothing.
  Result<void> reserve(std::uint64_t count) { return reserve(count, count); }
  // The same where no more than `partial` of the entries will have a mask that is neither empty nor full; reserve(0, n)
  // adds n to them. A reservation for ten million entries without such masks takes half the memory.
  Result<void> reserve(std::uint64_t count, std::uint64_t partial);
  // Gives back reservations that will not be used: the commit failed, or fewer entries were needed.
  void unreserve(std::uint64_t count);
  // Enters or replaces the entry of a block, which must be below block_count; the slot must be below
  // kMaxSlotsPerSpare and the mask within the block size's full mask. Without a reserve() before it, running out of
  // memory ends the program.
  void assign(BlockIndex block, const Mapping& mapping) {
    const TableEntry entry{block, mapping};
    assign({&entry, 1});
  }
  // The same for many, in their order. Cost: several times less an entry than one by one when the table is large, since
  // memory is asked for ahead of its use.
  void assign(std::span<const TableEntry> entries);
  // Removes the entry of a block; false if there was none.
  bool erase(BlockIndex block);

  // The first block in [from, end) that has an entry. Cost: scans the filter, then the table where the filter hits; on
  // disks above 8 TiB of 4 KiB blocks up to a pass over the table. Lock-free.
  [[nodiscard]] std::optional<BlockIndex> next_entry(BlockIndex from, BlockIndex end) const;
  // Calls visit for every entry, in no order, under the writers' mutex: visit must not change the table.
  void for_each(const std::function<void(BlockIndex, const Mapping&)>& visit) const;

  [[nodiscard]] std::uint64_t size() const { return entry_count_.load(std::memory_order_acquire); }
  // Bytes of memory held by the table, its filter and retired arrays not yet freed.
  [[nodiscard]] std::uint64_t memory_bytes() const;
  // True while overflow layers are in use because memory for growth was refused.
  [[nodiscard]] bool growth_refused() const;

 private:
  friend struct RemapTableFactory;
  struct Impl;
  using RunVisitor = bool (*)(void* visitor, const Run& run);

  explicit RemapTable(std::unique_ptr<Impl> impl);
  [[nodiscard]] bool filter_says_nothing(BlockRange range) const;
  bool visit_runs(ByteRange range, RunVisitor visit, void* visitor) const;

  const std::unique_ptr<Impl> impl_;
  const BlockGeometry geometry_;
  const std::atomic<std::uint64_t>& entry_count_;  // of impl_
};

}  // namespace remapfs
