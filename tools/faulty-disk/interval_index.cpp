// SPDX-License-Identifier: Apache-2.0
#include "interval_index.hpp"

#include <algorithm>
#include <utility>

namespace faulty {

IntervalIndex::IntervalIndex(std::vector<Entry> entries) : entries_(std::move(entries)), furthest_(entries_.size()) {
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return a.cells.begin != b.cells.begin ? a.cells.begin < b.cells.begin : a.rule < b.rule;
  });
  build(0, entries_.size());
}

CellIndex IntervalIndex::build(std::size_t low, std::size_t high) {
  if (low == high) return CellIndex(0);
  const std::size_t middle = low + (high - low) / 2;
  furthest_[middle] = std::max({entries_[middle].cells.end, build(low, middle), build(middle + 1, high)});
  return furthest_[middle];
}

}  // namespace faulty
