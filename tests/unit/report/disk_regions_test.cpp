// SPDX-License-Identifier: Apache-2.0
#include "report/disk_regions.hpp"

#include <gtest/gtest.h>

#include <random>

#include "core/utc.hpp"
#include "support/random.hpp"

namespace remapfs::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kStart = 1'790'000'000;

RemapRow row(std::uint64_t block, EntryState state, SectorMask valid = 0xFF, Cause cause = Cause::read_error) {
  RemapRow row;
  row.block = BlockIndex(block);
  row.state = state;
  row.valid_mask = valid;
  row.cause = cause;
  return row;
}

class Regions : public ::testing::Test {
 protected:
  void add(const RemapRow& entry, std::int64_t at = kStart) { all.add(entry, utc_text(at), utc_text(at + 60)); }
  DiskRegions all{ByteCount((1U << 20U) - 1024), 4096};  // the last block has six sectors
};

TEST_F(Regions, NeighboursOfOneStateAreOne) {
  add(row(3, EntryState::remapped, 0xFF, Cause::weak_read), kStart + 500);
  add(row(4, EntryState::remapped, 0xFE, Cause::write_error), kStart);
  add(row(5, EntryState::lost, 0x0F));
  add(row(7, EntryState::lost, 0x00));
  add(row(8, EntryState::weak));
  const Json regions = all.regions();
  EXPECT_EQ(regions["unit_blocks"], 1);
  const Json expected{{3, 5, 2, 1, 0, kStart, kStart + 560, "write_error, weak_read", 0},
                      {5, 6, 0, 4, 0, kStart, kStart + 60, "read_error", 1},
                      {7, 8, 0, 8, 0, kStart, kStart + 60, "read_error", 1},
                      {8, 9, 0, 0, 1, kStart, kStart + 60, "read_error", 0}};
  EXPECT_EQ(regions["list"], expected);
}

TEST_F(Regions, SectorsBehindTheEndAreNotLost) {
  add(row(255, EntryState::lost, 0));
  EXPECT_EQ(all.regions()["list"][0][3], 6);
}

TEST_F(Regions, NothingIsAnEmptyList) {
  EXPECT_TRUE(all.regions()["list"].is_array() && all.regions()["list"].empty());
  EXPECT_TRUE(all.growth().is_array() && all.growth().empty());
}

TEST(DiskRegions, HoweverManyTheyAreFewAndNoneIsForgotten) {
  const std::uint64_t seed = testing::test_seed();
  for (const std::uint64_t entries : {39'999U, 60'000U, 400'000U}) {
    std::mt19937_64 random(seed);
    DiskRegions all(ByteCount(std::uint64_t{1} << 45U), 4096);
    std::uint64_t block = 0;
    std::array<std::uint64_t, 4> sums{};
    std::vector<std::uint64_t> blocks;
    for (std::uint64_t i = 0; i < entries; ++i) {
      block += 1 + (random() % 4 == 0 ? random() % 5000 : 0);
      const auto state = std::array{EntryState::remapped, EntryState::lost, EntryState::weak}[random() % 3];
      const SectorMask valid = state == EntryState::lost ? random() & 0x7FU : 0xFF;
      all.add(row(block, state, valid), utc_text(kStart + static_cast<std::int64_t>(i)), utc_text(kStart + 10'000'000));
      blocks.push_back(block);
      sums[0] += state == EntryState::remapped ? 1 : 0;
      sums[1] += static_cast<std::uint64_t>(std::popcount(0xFFU & ~valid));
      sums[2] += state == EntryState::weak ? 1 : 0;
      sums[3] += state == EntryState::lost ? 1 : 0;
    }
    const Json regions = all.regions();
    const std::uint64_t unit = regions["unit_blocks"];
    EXPECT_LE(regions["list"].size(), DiskRegions::kMostRegions);
    EXPECT_GT(regions["list"].size(), DiskRegions::kMostRegions / 8) << "coarser than need be";
    std::array<std::uint64_t, 4> found{};
    std::uint64_t end = 0;
    std::size_t next = 0;
    for (const Json& region : regions["list"]) {
      ASSERT_GE(region[0].get<std::uint64_t>(), end);
      ASSERT_EQ(region[0], blocks[next]) << "begins with an entry";
      end = region[1];
      std::uint64_t inside = 0;
      for (; next < blocks.size() && blocks[next] < end; ++next) ++inside;
      ASSERT_EQ(blocks[next - 1] + 1, end) << "and ends with one";
      ASSERT_EQ(inside,
                region[2].get<std::uint64_t>() + region[4].get<std::uint64_t>() + region[8].get<std::uint64_t>());
      found[0] += region[2].get<std::uint64_t>();
      found[1] += region[3].get<std::uint64_t>();
      found[2] += region[4].get<std::uint64_t>();
      found[3] += region[8].get<std::uint64_t>();
    }
    EXPECT_EQ(found, sums);
    EXPECT_EQ(next, blocks.size());
    EXPECT_EQ(unit & (unit - 1), 0U);
  }
}

TEST_F(Regions, GrowthEndsWithWhatIsThereNow) {
  for (std::uint64_t hour = 0; hour < 200; ++hour) {
    add(row(hour, EntryState::lost, 0xFE), kStart + static_cast<std::int64_t>(hour) * 3600);
  }
  const Json growth = all.growth();
  ASSERT_EQ(growth.size(), 200U);
  EXPECT_EQ(growth[0], (Json{"2026-09-21T14:00:00Z", 0, 1, 0}));
  EXPECT_EQ(growth.back()[2], 200);
}

TEST(DiskRegions, GrowthOfYearsHasFewPoints) {
  DiskRegions all(ByteCount(std::uint64_t{1} << 40U), 4096);
  for (std::uint64_t i = 0; i < 30'001; ++i) {
    all.add(row(i, EntryState::weak), utc_text(kStart + static_cast<std::int64_t>(i) * 3600), utc_text(kStart));
  }
  const Json growth = all.growth();
  EXPECT_LE(growth.size(), DiskRegions::kMostPoints + 1);
  EXPECT_GT(growth.size(), DiskRegions::kMostPoints / 2);
  EXPECT_EQ(growth.back()[3], 30'001);
}

}  // namespace
}  // namespace remapfs::report
