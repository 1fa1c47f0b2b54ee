// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "cells.hpp"

namespace faulty {

// How often each cell was accessed, up to a limit: what makes a rule stop biting, cell by cell.
//
// Kept as intervals of equal counts, so that overwriting a whole disk is one interval, not one entry a cell.
// Threads: none; the caller locks. Cost: O(log n) and what is touched.
class CellProgress {
 public:
  // limit is above 0.
  explicit CellProgress(std::uint32_t limit) : limit_(limit) {}

  // Counts one access of every cell of the range.
  void advance(CellRange range);

  // Calls visit(CellRange) for the maximal parts of `range`, ascending, whose cells are below the limit, until visit
  // returns false. Returns false if it was stopped. visit must not change this object.
  template <class Visit>
  bool for_each_open(CellRange range, Visit&& visit) const;

  [[nodiscard]] std::uint64_t intervals() const { return intervals_.size(); }

 private:
  struct Interval {
    CellIndex end;
    std::uint32_t count;  // at least 1; cells of no interval have count 0
  };
  using Intervals = std::map<CellIndex, Interval>;  // by begin; disjoint

  void split_at(CellIndex cell);
  void merge_within(CellRange range);

  std::uint32_t limit_;
  Intervals intervals_;
};

template <class Visit>
bool CellProgress::for_each_open(CellRange range, Visit&& visit) const {
  auto next = intervals_.upper_bound(range.begin);
  if (next != intervals_.begin() && std::prev(next)->second.end > range.begin) --next;
  CellIndex open = range.begin;
  for (; next != intervals_.end() && next->first < range.end; ++next) {
    if (next->second.count < limit_) continue;
    if (next->first > open && !visit(CellRange{open, next->first})) return false;
    open = next->second.end;
  }
  return open >= range.end || visit(CellRange{open, range.end});
}

}  // namespace faulty
