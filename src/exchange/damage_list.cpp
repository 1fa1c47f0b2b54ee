// SPDX-License-Identifier: Apache-2.0
#include "exchange/damage_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace remapfs::exchange {
namespace {

bool continues(const DamagedRun& last, const DamagedRun& next) {
  return last.damage == next.damage && last.begin <= next.begin && next.begin <= last.end;
}

// The runs of one kind, joined; those given are in order of their beginnings.
std::vector<DamagedRun> joined(const std::vector<DamagedRun>& runs, Damage damage) {
  std::vector<DamagedRun> result;
  for (const DamagedRun& run : runs) {
    if (run.damage != damage) continue;
    if (!result.empty() && continues(result.back(), run)) {
      result.back().end = std::max(result.back().end, run.end);
    } else {
      result.push_back(run);
    }
  }
  return result;
}

// `below` where `above` is not, and `above`: both joined and in order.
std::vector<DamagedRun> overlaid(const std::vector<DamagedRun>& below, const std::vector<DamagedRun>& above) {
  std::vector<DamagedRun> result;
  auto cover = above.begin();
  for (DamagedRun run : below) {
    while (cover != above.end() && cover->end <= run.begin) result.push_back(*cover++);
    while (cover != above.end() && cover->begin < run.end) {
      if (run.begin < cover->begin) result.push_back({run.begin, cover->begin, run.damage});
      run.begin = std::min(run.end, cover->end);
      if (cover->end > run.end) break;
      result.push_back(*cover++);
    }
    if (run.begin < run.end) result.push_back(run);
  }
  result.insert(result.end(), cover, above.end());
  return result;
}

}  // namespace

Result<void> DamageList::add(std::uint64_t begin, std::uint64_t end, Damage damage, std::uint64_t line) {
  if (begin >= end) return {};
  ++places_;
  if (end > disk_) {
    if (outside_.whole + outside_.in_part == 0) outside_.first_line = line;
    ++(begin < disk_ ? outside_.in_part : outside_.whole);
    if (begin >= disk_) return {};
    end = disk_;
  }
  const DamagedRun run{begin / kSectorSize, (end + kSectorSize - 1) / kSectorSize, damage};
  if (!runs_.empty() && continues(runs_.back(), run)) {
    runs_.back().end = std::max(runs_.back().end, run.end);
    return {};
  }
  if (runs_.size() >= 2 * most_runs_) put_in_order();
  if (runs_.size() >= most_runs_ && in_order_) {
    return fail(Errc::no_memory,
                fmt::format("more than {} separate places, line {}, split the list", most_runs_, line));
  }
  if (!runs_.empty() && run.begin < runs_.back().end) in_order_ = false;
  runs_.push_back(run);
  return {};
}

void DamageList::put_in_order() {
  std::sort(runs_.begin(), runs_.end(), [](const DamagedRun& a, const DamagedRun& b) { return a.begin < b.begin; });
  runs_ = overlaid(joined(runs_, Damage::weak), joined(runs_, Damage::lost));
  in_order_ = true;
}

const std::vector<DamagedRun>& DamageList::runs() {
  if (!in_order_) put_in_order();
  return runs_;
}

std::vector<ImportRun> by_block(std::span<const DamagedRun> runs, const BlockGeometry& geometry) {
  const std::uint64_t sectors = geometry.sectors_per_block();
  std::vector<ImportRun> blocks;
  // What touches a block comes one after the other: the last run of the result may still get more of its last block.
  std::optional<ImportRun> open;
  const auto put = [&](BlockRange range, SectorMask lost) {
    if (open && open->blocks.end == range.begin && open->lost == lost) {
      open->blocks.end = range.end;
    } else {
      if (open) blocks.push_back(*open);
      open = ImportRun{range, lost};
    }
  };
  const auto add_part = [&](BlockIndex block, SectorMask lost) {
    if (!open || open->blocks.end != block + 1) return put({block, block + 1}, lost);
    // The block is there already: it is taken out of its run and put back with more.
    const SectorMask both = open->lost | lost;
    open->blocks.end = block;
    if (open->blocks.empty()) open.reset();
    if (!open && !blocks.empty() && blocks.back().blocks.end == block) {
      open = blocks.back();
      blocks.pop_back();
    }
    put({block, block + 1}, both);
  };
  for (DamagedRun run : runs) {
    const bool lost = run.damage == Damage::lost;
    while (run.begin < run.end) {
      const BlockIndex block(run.begin / sectors);
      const std::uint64_t first = run.begin % sectors;
      const std::uint64_t whole = first == 0 ? (run.end - run.begin) / sectors : 0;
      if (whole > 0) {
        put({block, block + whole}, lost ? geometry.full_mask() : 0);
        run.begin += whole * sectors;
        continue;
      }
      const std::uint64_t last = std::min(sectors, first + run.end - run.begin);
      add_part(block, lost ? BlockGeometry::mask_of(first, last) : 0);
      run.begin += last - first;
    }
  }
  if (open) blocks.push_back(*open);
  return blocks;
}

Result<void> add_row(DamageList& list, const RemapRow& row, const BlockGeometry& geometry, bool also_remapped) {
  const std::uint64_t begin = geometry.begin_of(row.block).value();
  const auto add = [&](std::uint64_t first, std::uint64_t last, Damage damage) {
    const std::uint64_t disk_end = list.disk_size().value();
    return list.add(begin + first * kSectorSize, std::min(disk_end, begin + last * kSectorSize), damage);
  };
  const bool whole = row.state == EntryState::weak || (also_remapped && row.state == EntryState::remapped);
  if (whole) return add(0, geometry.sectors_per_block(), Damage::weak);
  for (unsigned sector = 0; sector < geometry.sectors_per_block(); ++sector) {
    if ((row.valid_mask >> sector & 1U) != 0) continue;
    if (auto added = add(sector, sector + 1, Damage::lost); !added) return added;
  }
  return {};
}

}  // namespace remapfs::exchange
