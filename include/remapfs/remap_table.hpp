// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

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
  poisoned,  // in memory only: a commit's outcome is unknown, every access fails until remount
};

// One entry of the table.
struct Mapping {
  EntryState state = EntryState::weak;
  SlotAddress where;          // meaningful when state is remapped
  SectorMask valid_mask = 0;  // the block size's full mask when everything can be read

  friend constexpr bool operator==(const Mapping&, const Mapping&) = default;
};

// How a part of a request is to be served.
enum class RunKind : std::uint8_t {
  primary,    // no entry, or a weak one: the primary holds the data
  slot,       // a slot holds the data and every sector of it is valid
  attention,  // lost, partly valid or poisoned: the slow road decides, block by block
};

// A maximal part of a request that one device access can serve.
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
// Memory: starts with 64 places, grows and shrinks by doubling, at most 32 bytes an entry when large. When memory for
//   growth is refused, entries go into smaller overflow layers: lookups get slower, growth_refused() says so, nothing
//   is lost.
class RemapTable {
 public:
  // block_count: blocks of the disk, sizes the filter. geometry: how bytes map to blocks.
  // Errors: no_memory.
  static Result<std::unique_ptr<RemapTable>> create(std::uint64_t block_count, BlockGeometry geometry);
  ~RemapTable();
  RemapTable(const RemapTable&) = delete;
  RemapTable& operator=(const RemapTable&) = delete;

  // The entry of a block, if it has one.
  [[nodiscard]] std::optional<Mapping> find(BlockIndex block) const;

  // True when no block of the range has an entry. May answer false for a range without entries; never true for one
  // with an entry.
  [[nodiscard]] bool nothing_mapped(BlockRange range) const;

  // Calls visit(const Run&) for the runs that make up `range`, in order, without gaps or overlaps, cut at every
  // boundary where the way of serving changes. Neighbouring blocks in neighbouring slots of one spare are one run.
  // Stops early when visit returns false. Returns false if it was stopped.
  template <class Visit>
  bool for_each_run(ByteRange range, Visit&& visit) const;

  // Makes room for `count` further assign() calls, so that they cannot fail. Errors: no_memory.
  // A change that has been made durable must be able to enter the table: call this before the commit.
  Result<void> reserve(std::uint64_t count);
  // Enters or replaces the entry of a block. Without a reserve() before it, running out of memory ends the program.
  void assign(BlockIndex block, const Mapping& mapping);
  // Removes the entry of a block; false if there was none.
  bool erase(BlockIndex block);

  // The first block in [from, end) that has an entry. Cost: scans the filter, then the table where the filter hits.
  [[nodiscard]] std::optional<BlockIndex> next_entry(BlockIndex from, BlockIndex end) const;
  // Calls visit for every entry, in no order, under the writers' mutex: visit must not change the table.
  void for_each(const std::function<void(BlockIndex, const Mapping&)>& visit) const;

  [[nodiscard]] std::uint64_t size() const;
  // Bytes of memory held by the table, its filter and retired arrays not yet freed.
  [[nodiscard]] std::uint64_t memory_bytes() const;
  // True while overflow layers are in use because memory for growth was refused.
  [[nodiscard]] bool growth_refused() const;

 private:
  RemapTable();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace remapfs
