// SPDX-License-Identifier: Apache-2.0
#include "cell_progress.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "interval_index.hpp"

namespace faulty {
namespace {

CellRange cells(std::uint64_t begin, std::uint64_t end) { return {CellIndex(begin), CellIndex(end)}; }

std::vector<CellRange> open_parts(const CellProgress& progress, CellRange range) {
  std::vector<CellRange> parts;
  progress.for_each_open(range, [&](CellRange part) {
    parts.push_back(part);
    return true;
  });
  return parts;
}

TEST(CellProgress, FreshCellsAreOpen) {
  EXPECT_EQ(open_parts(CellProgress(1), cells(3, 9)), (std::vector{cells(3, 9)}));
}

TEST(CellProgress, CellsCloseAtTheLimit) {
  CellProgress progress(2);
  progress.advance(cells(4, 6));
  EXPECT_EQ(open_parts(progress, cells(3, 9)), (std::vector{cells(3, 9)}));
  progress.advance(cells(5, 7));
  EXPECT_EQ(open_parts(progress, cells(3, 9)), (std::vector{cells(3, 5), cells(6, 9)}));
}

TEST(CellProgress, WholeDiskWrittenInPiecesIsOneInterval) {
  CellProgress progress(1);
  for (std::uint64_t i = 0; i < 1000; i += 2) progress.advance(cells(i, i + 1));
  EXPECT_EQ(progress.intervals(), 500U);
  for (std::uint64_t i = 1; i < 1000; i += 2) progress.advance(cells(i, i + 1));
  EXPECT_EQ(progress.intervals(), 1U);
  progress.advance(cells(300, 400));  // counts no further than the limit
  EXPECT_EQ(progress.intervals(), 1U);
}

// Against one count a cell.
TEST(CellProgress, AgreesWithACountForEveryCell) {
  static constexpr std::uint64_t kCells = 60;
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    const auto limit = static_cast<std::uint32_t>(1 + random() % 4);
    CellProgress progress(limit);
    std::vector<std::uint32_t> counts(kCells);
    for (int step = 0; step < 200; ++step) {
      std::uint64_t begin = random() % kCells;
      std::uint64_t end = random() % (kCells + 1);
      if (begin > end) std::swap(begin, end);
      progress.advance(cells(begin, end));
      for (std::uint64_t i = begin; i < end; ++i) counts[i] = std::min(counts[i] + 1, limit);
      std::vector<bool> open(kCells, false);
      for (const CellRange part : open_parts(progress, cells(0, kCells))) {
        for (CellIndex cell = part.begin; cell < part.end; ++cell) open[cell.value()] = true;
      }
      for (std::uint64_t i = 0; i < kCells; ++i) {
        ASSERT_EQ(open[i], counts[i] < limit) << "seed " << seed << " step " << step << " cell " << i;
      }
    }
  }
}

// Against looking at every interval.
TEST(IntervalIndex, FindsWhatAScanFinds) {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    std::vector<IntervalIndex::Entry> entries;
    const auto count = static_cast<std::uint32_t>(random() % 40);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t begin = random() % 100;
      entries.push_back({cells(begin, begin + 1 + random() % 30), i});
    }
    const IntervalIndex index(entries);
    for (std::uint64_t begin = 0; begin < 130; begin += 3) {
      const CellRange range = cells(begin, begin + random() % 20);
      std::vector<std::uint32_t> found;
      index.for_each_overlap(range, [&](const IntervalIndex::Entry& entry) { found.push_back(entry.rule); });
      std::vector<std::uint32_t> expected;
      for (const auto& entry : entries) {
        if (!intersection(entry.cells, range).empty()) expected.push_back(entry.rule);
      }
      std::sort(found.begin(), found.end());
      ASSERT_EQ(found, expected) << "seed " << seed << " range " << begin;
    }
  }
}

}  // namespace
}  // namespace faulty
