// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "remapfs/map_store.hpp"
#include "remapfs/remap_table.hpp"
#include "remapfs/units.hpp"
#include "volume/block_reader.hpp"
#include "volume/member.hpp"

namespace remapfs {

// A block under its hold: its entry, where its data is, and what of it can be read.
struct HeldBlock {
  BlockIndex block;
  std::optional<Mapping> mapping;
  Member* member = nullptr;
  BlockPlace place;
  SectorMask valid = 0;

  [[nodiscard]] bool has_slot() const { return mapping && mapping->state == EntryState::remapped; }
  // All of it on its device, for probes to keep away from.
  [[nodiscard]] ByteRange on_device() const { return {place.begin, place.begin + place.size}; }
};

// Where on a device an access failed that was not about a block's entry.
struct FailedAccess {
  const Member* member = nullptr;
  ByteOffset at;

  // True when that was where the block has its data now: it may have moved since.
  [[nodiscard]] bool hit(const HeldBlock& held) const {
    const ByteRange place = held.on_device();
    return member == held.member && place.begin <= at && at < place.end;
  }
};

// The part of a block that a request wants.
struct BlockPart {
  std::uint64_t begin = 0;  // bytes inside the block, half open
  std::uint64_t end = 0;

  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  [[nodiscard]] SectorMask touched() const { return BlockGeometry::sectors_touching(begin, end); }
  [[nodiscard]] SectorMask covered() const { return BlockGeometry::sectors_covered(begin, end); }
};

// A write in place that failed: what it was to replace may be ruined, also around the request's own bytes.
struct AtRisk {
  HeldBlock held;
  BlockPart part;
  SectorMask good = 0;                // sectors around the part that are in the buffer
  std::span<const std::byte> buffer;  // the block, as long as the batch
};

// Changes to the entries of blocks under one hold, gathered to become durable in one commit.
struct Batch {
  struct Entry {
    MapChange change;
    std::span<const std::byte> slot_content;  // of a new slot; written again elsewhere if the slot proves bad
  };
  std::vector<Entry> entries;
  std::vector<SlotAddress> retired;  // slots found bad on the way
  std::vector<Event> events;
  std::vector<AtRisk> at_risk;  // whatever becomes of the entries

  [[nodiscard]] bool empty() const { return entries.empty() && retired.empty() && events.empty(); }
  // Whether a slot of the spare is taken or given up.
  [[nodiscard]] bool needs(SpareId spare) const;
};

// A batch whose rows are durable, to be published when these spares have their part of its commit.
struct Unfinished {
  Batch batch;
  std::vector<SpareId> spares;
};

}  // namespace remapfs
