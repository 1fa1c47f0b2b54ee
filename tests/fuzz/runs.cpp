// SPDX-License-Identifier: Apache-2.0
// How a request is split, against a table of the simplest kind: every sector of it must go where the entry of its block
// says.
#include <map>

#include "fuzz/fuzz_input.hpp"
#include "remapfs/remap_table.hpp"

namespace {

using namespace remapfs;

constexpr std::uint64_t kBlocks = 300;
constexpr std::uint64_t kBlockSize = 1024;

void check_sector(const std::map<std::uint64_t, Mapping>& entries, ByteOffset at, const Run& run,
                  const BlockGeometry& geometry) {
  const BlockIndex block = geometry.block_of(at);
  const auto entry = entries.find(block.value());
  if (entry == entries.end() || entry->second.state == EntryState::weak) {
    REMAPFS_INVARIANT(run.kind == RunKind::primary);
  } else if (entry->second.state == EntryState::remapped && entry->second.valid_mask == geometry.full_mask()) {
    REMAPFS_INVARIANT(run.kind == RunKind::slot);
    const std::uint64_t blocks_before = block.value() - geometry.block_of(run.range.begin).value();
    REMAPFS_INVARIANT(run.first_slot.spare == entry->second.where.spare);
    REMAPFS_INVARIANT(run.first_slot.slot.value() + blocks_before == entry->second.where.slot.value());
  } else {
    REMAPFS_INVARIANT(run.kind == RunKind::attention);
    REMAPFS_INVARIANT(geometry.blocks_touching(run.range).size() == 1);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BlockGeometry geometry(kBlockSize);
  auto table = std::move(*RemapTable::create(kBlocks, geometry));
  std::map<std::uint64_t, Mapping> entries;
  fuzz::Input input(data, size);
  while (!input.empty()) {
    const std::uint64_t what = input.number(1);
    const std::uint64_t block = input.number(2) % kBlocks;
    if (what % 8 < 4) {
      Mapping mapping;
      mapping.state = static_cast<EntryState>(what / 8 % 4);
      // Runs of slots, so that neighbours come together.
      mapping.where = {static_cast<SpareId>(what % 2 + 1), SlotIndex(block + input.number(1) % 3)};
      mapping.valid_mask = mapping.state == EntryState::weak ? geometry.full_mask() : what / 32 % 4;
      table->assign(BlockIndex(block), mapping);
      entries[block] = mapping;
    } else if (what % 8 < 6) {
      REMAPFS_INVARIANT(table->erase(BlockIndex(block)) == (entries.erase(block) == 1));
    } else {
      const ByteOffset begin(block * kBlockSize + input.number(1) % 2 * kSectorSize);
      const std::uint64_t length = (input.number(1) + 1) * kSectorSize;
      const ByteRange range{begin, ByteOffset(std::min(begin.value() + length, kBlocks * kBlockSize))};
      ByteOffset next = range.begin;
      table->for_each_run(range, [&](const Run& run) {
        REMAPFS_INVARIANT(run.range.begin == next && run.range.begin < run.range.end);
        next = run.range.end;
        for (ByteOffset at = run.range.begin; at < run.range.end; at = at + kSectorSize) {
          check_sector(entries, at, run, geometry);
        }
        return true;
      });
      REMAPFS_INVARIANT(next == range.end);
    }
    REMAPFS_INVARIANT(table->size() == entries.size());
  }
  return 0;
}
