// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "cells.hpp"
#include "rule.hpp"
#include "seeded_order.hpp"

namespace faulty {

// The cells of one disk that a selection means.
//
// Small or listed selections are *fixed*: a sorted list of disjoint ranges, to be put into an index. Large draws
// (percent, grow, counts above kMaxFixedDraw) are *computed* cell by cell and take no memory.
// Threads: immutable. Cost: computed ones take some ten nanoseconds a cell asked about.
class Selector {
 public:
  static constexpr std::uint64_t kMaxFixedDraw = std::uint64_t{1} << 22U;

  // Reads the list file if there is one. Errors: invalid (past the end of the disk, more cells than there are),
  // not_found and permission of the list file.
  static Result<Selector> make(const Selection& selection, const DiskShape& disk);

  [[nodiscard]] bool computed() const { return order_.has_value(); }
  // Sorted, disjoint, not touching; empty when computed.
  [[nodiscard]] const std::vector<CellRange>& fixed() const { return fixed_; }
  // No selected cell is outside, ever.
  [[nodiscard]] CellRange bounds() const { return bounds_; }
  // The set changes with time.
  [[nodiscard]] bool grows() const { return period_.count() != 0; }

  // The number of cells selected when the rule has been active for `age`.
  [[nodiscard]] std::uint64_t selected_at(nanoseconds age) const;

  // Computed ones only: calls visit(CellIndex) for the selected cells of `range`, ascending, until visit returns
  // false. Returns false if it was stopped.
  template <class Visit>
  bool for_each_selected(CellRange range, nanoseconds age, Visit&& visit) const;

 private:
  // Up to so many cells are asked one by one before the drawn ones are listed and sorted instead.
  static constexpr std::uint64_t kScanCells = std::uint64_t{1} << 16U;

  Selector() = default;
  Result<void> set_fixed(const std::vector<SectorRange>& sectors, const DiskShape& disk);
  Result<void> set_drawn(const Selection& selection, const DiskShape& disk);
  [[nodiscard]] std::vector<CellIndex> drawn_within(CellRange range, std::uint64_t active) const;

  std::vector<CellRange> fixed_;
  std::uint64_t fixed_cells_ = 0;
  CellRange bounds_;
  std::optional<SeededOrder> order_;  // of the cells of bounds_, counted from its begin
  std::uint64_t drawn_ = 0;           // how many are selected in the end
  std::uint64_t growth_ = 0;          // cells per period
  nanoseconds period_{0};
};

template <class Visit>
bool Selector::for_each_selected(CellRange range, nanoseconds age, Visit&& visit) const {
  const std::uint64_t active = selected_at(age);
  range = intersection(range, bounds_);
  if (active == 0 || range.empty()) return true;
  const CellIndex scan_end =
      active >= range.size() ? range.end : std::min(range.end, range.begin + std::min(kScanCells, range.size()));
  for (CellIndex cell = range.begin; cell < scan_end; ++cell) {
    if (order_->rank_of((cell - bounds_.begin).value()) < active && !visit(cell)) return false;
  }
  if (scan_end >= range.end) return true;
  for (const CellIndex cell : drawn_within({scan_end, range.end}, active)) {
    if (!visit(cell)) return false;
  }
  return true;
}

}  // namespace faulty
