// SPDX-License-Identifier: Apache-2.0
#include "selector.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace faulty {
namespace {

// Sorts, joins what overlaps or touches.
std::vector<CellRange> normalised(std::vector<CellRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](CellRange a, CellRange b) { return a.begin < b.begin; });
  std::vector<CellRange> joined;
  for (const CellRange range : ranges) {
    if (range.empty()) continue;
    if (!joined.empty() && range.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, range.end);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

Result<void> check_inside(SectorRange sectors, const DiskShape& disk) {
  if (sectors.end.value() <= disk.sectors()) return {};
  return fail(Errc::invalid, fmt::format("sector {} is past the end of the disk, which has {} sectors of 512 bytes",
                                         sectors.end.value() - 1, disk.sectors()));
}

std::uint64_t share_of(double percent, std::uint64_t cells) {
  const auto rounded = static_cast<std::uint64_t>(std::llround(percent / 100.0 * static_cast<double>(cells)));
  // Somebody who asks for a share asks for at least one.
  return std::clamp<std::uint64_t>(rounded, 1, cells);
}

}  // namespace

Result<Selector> Selector::make(const Selection& selection, const DiskShape& disk) {
  Selector selector;
  Result<void> done;
  switch (selection.kind) {
    case Selection::Kind::none: return selector;
    case Selection::Kind::all:
      selector.fixed_ = {disk.all()};
      selector.fixed_cells_ = disk.all().size();
      selector.bounds_ = disk.all();
      return selector;
    case Selection::Kind::sectors: done = selector.set_fixed(selection.sectors, disk); break;
    case Selection::Kind::list: {
      const Result<std::vector<SectorRange>> sectors = read_sector_list(selection.list_file);
      if (!sectors) return fail(sectors.error());
      done = selector.set_fixed(*sectors, disk);
      break;
    }
    case Selection::Kind::count:
    case Selection::Kind::percent:
    case Selection::Kind::grow: done = selector.set_drawn(selection, disk); break;
  }
  if (!done) return fail(done.error());
  return selector;
}

Result<void> Selector::set_fixed(const std::vector<SectorRange>& sectors, const DiskShape& disk) {
  std::vector<CellRange> cells;
  cells.reserve(sectors.size());
  for (const SectorRange& range : sectors) {
    if (auto inside = check_inside(range, disk); !inside) return inside;
    cells.push_back(disk.touching(range));
  }
  fixed_ = normalised(std::move(cells));
  if (!fixed_.empty()) bounds_ = {fixed_.front().begin, fixed_.back().end};
  for (const CellRange range : fixed_) fixed_cells_ += range.size();
  return {};
}

Result<void> Selector::set_drawn(const Selection& selection, const DiskShape& disk) {
  bounds_ = disk.all();
  if (selection.within) {
    if (auto inside = check_inside(*selection.within, disk); !inside) return inside;
    bounds_ = disk.covered(*selection.within);
  }
  const std::uint64_t cells = bounds_.size();
  if (cells == 0) return fail(Errc::invalid, "within holds no whole physical sector");
  if (selection.kind == Selection::Kind::count && selection.count > cells) {
    return fail(Errc::invalid,
                fmt::format("count {} is more than the {} physical sectors there are", selection.count, cells));
  }
  const SeededOrder order(cells, selection.seed);
  if (selection.kind == Selection::Kind::count && selection.count <= kMaxFixedDraw) {
    std::vector<CellRange> drawn;
    drawn.reserve(selection.count);
    for (std::uint64_t rank = 0; rank < selection.count; ++rank) {
      const CellIndex cell = bounds_.begin + order.at(rank);
      drawn.push_back({cell, cell + 1});
    }
    fixed_ = normalised(std::move(drawn));
    fixed_cells_ = selection.count;
    return {};
  }
  order_ = order;
  switch (selection.kind) {
    case Selection::Kind::percent: drawn_ = share_of(selection.percent, cells); break;
    case Selection::Kind::grow:
      drawn_ = std::min(cells, selection.limit.value_or(cells));
      growth_ = selection.count;
      period_ = selection.period;
      break;
    default: drawn_ = selection.count; break;
  }
  return {};
}

std::uint64_t Selector::selected_at(nanoseconds age) const {
  if (!computed()) return fixed_cells_;
  if (!grows()) return drawn_;
  if (age.count() <= 0) return 0;
  // 128 bits: a year in nanoseconds times cells does not fit into 64.
  __extension__ using Wide = unsigned __int128;
  const Wide grown = static_cast<Wide>(age.count()) * growth_ / static_cast<Wide>(period_.count());
  return grown < drawn_ ? static_cast<std::uint64_t>(grown) : drawn_;
}

std::vector<CellIndex> Selector::drawn_within(CellRange range, std::uint64_t active) const {
  std::vector<CellIndex> cells;
  for (std::uint64_t rank = 0; rank < active; ++rank) {
    const CellIndex cell = bounds_.begin + order_->at(rank);
    if (range.contains(cell)) cells.push_back(cell);
  }
  std::sort(cells.begin(), cells.end());
  return cells;
}

}  // namespace faulty
