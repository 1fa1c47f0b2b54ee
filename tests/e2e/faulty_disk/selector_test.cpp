// SPDX-License-Identifier: Apache-2.0
#include "selector.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "corruption.hpp"

namespace faulty {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

constexpr DiskShape kDisk(ByteCount(1000 * 512), 512);
constexpr DiskShape k4kDisk(ByteCount(1000 * 512), 4096);

Result<Selector> selector(std::string_view text, const DiskShape& disk) {
  const Result<RuleSpec> rule = parse_rule(text, "/");
  EXPECT_TRUE(rule) << text;
  return Selector::make(rule->selection, disk);
}

std::set<std::uint64_t> selected(const Selector& chosen, CellRange range, nanoseconds age) {
  std::set<std::uint64_t> cells;
  for (const CellRange part : chosen.fixed()) {
    for (CellIndex cell = part.begin; cell < part.end; ++cell) {
      if (range.contains(cell)) cells.insert(cell.value());
    }
  }
  if (!chosen.computed()) return cells;
  std::uint64_t last = 0;
  chosen.for_each_selected(range, age, [&](CellIndex cell) {
    EXPECT_TRUE(cells.empty() || cell.value() > last) << "not ascending";
    last = cell.value();
    cells.insert(cell.value());
    return true;
  });
  return cells;
}

TEST(SeededOrder, IsAPermutationAndRankIsItsInverse) {
  for (const std::uint64_t size : {1ULL, 2ULL, 3ULL, 15ULL, 16ULL, 17ULL, 1000ULL, 4097ULL}) {
    const SeededOrder order(size, 42);
    std::set<std::uint64_t> seen;
    for (std::uint64_t rank = 0; rank < size; ++rank) {
      const std::uint64_t number = order.at(rank);
      ASSERT_LT(number, size);
      ASSERT_TRUE(seen.insert(number).second) << size;
      ASSERT_EQ(order.rank_of(number), rank) << size;
    }
  }
}

// Golden values: a seed names the same sectors in every version and on every machine.
TEST(SeededOrder, SameSeedGivesTheSameSectorsForEver) {
  const SeededOrder order(1'000'000, 7);
  EXPECT_EQ((std::vector{order.at(0), order.at(1), order.at(2)}), (std::vector<std::uint64_t>{639725, 310324, 956312}));
}

TEST(SeededOrder, SpreadsEvenly) {
  const SeededOrder order(1'000'000, 3);
  std::array<int, 10> tenths{};
  for (std::uint64_t rank = 0; rank < 10'000; ++rank) ++tenths[order.at(rank) / 100'000];
  for (const int count : tenths) {
    EXPECT_GT(count, 850);
    EXPECT_LT(count, 1150);
  }
}

TEST(Selector, OverlappingAndTouchingRangesBecomeOne) {
  const auto chosen = selector("sectors=10-20+15-25+26+40", kDisk);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->fixed(),
            (std::vector{CellRange{CellIndex(10), CellIndex(27)}, CellRange{CellIndex(40), CellIndex(41)}}));
  EXPECT_EQ(chosen->selected_at(nanoseconds(0)), 18U);
}

TEST(Selector, OneSectorTakesItsWholePhysicalSector) {
  const auto chosen = selector("sectors=9", k4kDisk);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->fixed(), (std::vector{CellRange{CellIndex(1), CellIndex(2)}}));
}

TEST(Selector, SectorsPastTheEndAreRefused) {
  EXPECT_TRUE(selector("sectors=999", kDisk));
  const auto beyond = selector("sectors=1000", kDisk);
  ASSERT_FALSE(beyond);
  EXPECT_THAT(beyond.error().message, HasSubstr("sector 1000 is past the end"));
  EXPECT_FALSE(selector("count=1,within=1-1000", kDisk));
  EXPECT_FALSE(selector("count=1001", kDisk));
  EXPECT_FALSE(selector("count=1,within=1-7", k4kDisk));
}

TEST(Selector, CountDrawsThatManyInsideItsRange) {
  const auto chosen = selector("count=50,seed=9,within=100-199", kDisk);
  ASSERT_TRUE(chosen);
  const auto cells = selected(*chosen, kDisk.all(), nanoseconds(0));
  EXPECT_EQ(cells.size(), 50U);
  EXPECT_GE(*cells.begin(), 100U);
  EXPECT_LE(*cells.rbegin(), 199U);
}

// A percentage is computed, a count is listed: the same draw must come out.
TEST(Selector, PercentAndCountWithOneSeedChooseTheSame) {
  const auto percent = selector("percent=5,seed=11", kDisk);
  const auto count = selector("count=50,seed=11", kDisk);
  ASSERT_TRUE(percent && count);
  ASSERT_TRUE(percent->computed());
  EXPECT_FALSE(count->computed());
  EXPECT_EQ(selected(*percent, kDisk.all(), nanoseconds(0)), selected(*count, kDisk.all(), nanoseconds(0)));
  EXPECT_NE(selected(*percent, kDisk.all(), nanoseconds(0)),
            selected(*selector("percent=5,seed=12", kDisk), kDisk.all(), nanoseconds(0)));
}

TEST(Selector, SmallShareIsAtLeastOneSector) {
  EXPECT_EQ(selector("percent=0.0001", kDisk)->selected_at(nanoseconds(0)), 1U);
}

TEST(Selector, GrowthOnlyAddsAndStopsAtItsLimit) {
  const auto chosen = selector("grow=10-per-5,seed=2,limit=25", kDisk);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->selected_at(seconds(-1)), 0U);
  EXPECT_EQ(chosen->selected_at(seconds(0)), 0U);
  EXPECT_EQ(chosen->selected_at(seconds(1)), 2U);
  EXPECT_EQ(chosen->selected_at(seconds(5)), 10U);
  EXPECT_EQ(chosen->selected_at(seconds(3600)), 25U);
  EXPECT_EQ(selector("grow=1000000-per-1", kDisk)->selected_at(std::chrono::hours(24 * 365)), 1000U);
  // 2^40 ns times 2^24 cells a second is 0 in 64 bits.
  EXPECT_EQ(selector("grow=16777216-per-1", kDisk)->selected_at(nanoseconds(std::int64_t{1} << 40U)), 1000U);
  std::set<std::uint64_t> before;
  for (int age = 0; age < 15; ++age) {
    const auto now = selected(*chosen, kDisk.all(), seconds(age));
    EXPECT_TRUE(std::includes(now.begin(), now.end(), before.begin(), before.end()));
    before = now;
  }
  EXPECT_EQ(before.size(), 25U);
}

// Long ranges list the drawn cells instead of asking each; both ways must agree.
TEST(Selector, LongRangeFindsWhatItsPiecesFind) {
  const DiskShape disk(ByteCount(std::uint64_t{1} << 31U), 512);
  const auto chosen = selector("grow=300-per-1,seed=5", disk);
  ASSERT_TRUE(chosen);
  const auto whole = selected(*chosen, disk.all(), seconds(1));
  EXPECT_EQ(whole.size(), 300U);
  std::set<std::uint64_t> pieces;
  for (CellIndex begin(0); begin < disk.all().end; begin += 50'000) {
    pieces.merge(selected(*chosen, {begin, std::min(begin + 50'000, disk.all().end)}, seconds(1)));
  }
  EXPECT_EQ(whole, pieces);
}

TEST(Corruption, DependsOnThePlaceAloneAndTouchesEverySector) {
  std::vector<std::byte> whole(4096);
  flip_bits(7, ByteOffset(8192), whole);
  for (std::size_t sector = 0; sector < 8; ++sector) {
    const auto part = std::span(whole).subspan(sector * 512, 512);
    EXPECT_NE(std::count(part.begin(), part.end(), std::byte{0}), 512);
  }
  std::vector<std::byte> odd(1000);
  flip_bits(7, ByteOffset(8192 + 333), odd);
  EXPECT_TRUE(std::equal(odd.begin(), odd.end(), whole.begin() + 333));
  std::vector<std::byte> other(4096);
  flip_bits(8, ByteOffset(8192), other);
  EXPECT_NE(whole, other);
}

}  // namespace
}  // namespace faulty
