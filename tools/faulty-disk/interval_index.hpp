// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "cells.hpp"

namespace faulty {

// Finds the intervals that overlap a range: a binary search tree laid out in one sorted array, each node knowing the
// furthest end below it.
//
// Threads: immutable once built. Cost: O(log n + found); 32 bytes an interval; building sorts.
class IntervalIndex {
 public:
  struct Entry {
    CellRange cells;         // not empty
    std::uint32_t rule = 0;  // what the caller wants back
  };

  IntervalIndex() = default;
  explicit IntervalIndex(std::vector<Entry> entries);

  // Calls visit(const Entry&) for every entry that overlaps `range`, ascending by begin.
  template <class Visit>
  void for_each_overlap(CellRange range, Visit&& visit) const {
    if (!range.empty()) walk(0, entries_.size(), range, visit);
  }

 private:
  CellIndex build(std::size_t low, std::size_t high);

  // Depth is the logarithm of the number of entries.
  template <class Visit>
  void walk(std::size_t low, std::size_t high, CellRange range, Visit& visit) const {
    if (low == high) return;
    const std::size_t middle = low + (high - low) / 2;
    if (furthest_[middle] <= range.begin) return;
    walk(low, middle, range, visit);
    const Entry& entry = entries_[middle];
    if (entry.cells.begin >= range.end) return;
    if (entry.cells.end > range.begin) visit(entry);
    walk(middle + 1, high, range, visit);
  }

  std::vector<Entry> entries_;
  std::vector<CellIndex> furthest_;  // of the subtree whose root is the entry of that index
};

}  // namespace faulty
