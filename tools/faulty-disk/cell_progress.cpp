// SPDX-License-Identifier: Apache-2.0
#include "cell_progress.hpp"

#include <iterator>

namespace faulty {

void CellProgress::advance(CellRange range) {
  if (range.empty()) return;
  split_at(range.begin);
  split_at(range.end);
  CellIndex at = range.begin;
  auto next = intervals_.lower_bound(range.begin);
  while (at < range.end) {
    const bool inside = next != intervals_.end() && next->first < range.end;
    if (inside && next->first == at) {
      if (next->second.count < limit_) ++next->second.count;
      at = next->second.end;
      ++next;
      continue;
    }
    const CellIndex gap_end = inside ? next->first : range.end;
    intervals_.emplace_hint(next, at, Interval{gap_end, 1});
    at = gap_end;
  }
  merge_within(range);
}

void CellProgress::split_at(CellIndex cell) {
  auto after = intervals_.lower_bound(cell);
  if (after == intervals_.begin()) return;
  const auto holder = std::prev(after);
  if (holder->second.end <= cell) return;
  intervals_.emplace_hint(after, cell, holder->second);
  holder->second.end = cell;
}

// Joins neighbours of equal count, from the interval before the range to the one after it.
void CellProgress::merge_within(CellRange range) {
  auto left = intervals_.lower_bound(range.begin);
  if (left != intervals_.begin()) --left;
  while (left != intervals_.end() && left->first <= range.end) {
    const auto right = std::next(left);
    if (right == intervals_.end()) return;
    if (left->second.end == right->first && left->second.count == right->second.count) {
      left->second.end = right->second.end;
      intervals_.erase(right);
    } else {
      left = right;
    }
  }
}

}  // namespace faulty
