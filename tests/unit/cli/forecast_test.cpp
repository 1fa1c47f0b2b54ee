// SPDX-License-Identifier: Apache-2.0
#include "cli/forecast.hpp"

#include <gtest/gtest.h>

#include "core/utc.hpp"
#include "unit/cli/times.hpp"

namespace remapfs::cli {
namespace {

store::MapGrowth growth(std::int64_t born, std::vector<std::pair<std::int64_t, std::uint64_t>> taken) {
  store::MapGrowth all;
  all.created_at = utc_text(born);
  for (const auto& [at, count] : taken) all.hours.push_back({utc_text(at), count, 5, 7});
  return all;
}

TEST(Forecast, IsTheRateOfTheLastSevenDays) {
  const auto forecast = make_forecast(
      growth(kNow - 100 * kDay, {{kNow - 50 * kDay, 1000}, {kNow - 6 * kDay, 10}, {kNow - kDay, 4}}), 100, 200, kNow);
  ASSERT_TRUE(forecast.slots_per_day);
  EXPECT_DOUBLE_EQ(*forecast.slots_per_day, 2);
  EXPECT_EQ(forecast.runs_out_at, kNow + 50 * kDay);
  EXPECT_EQ(in_words(forecast),
            "At 2.0 slots a day the spare is full about 17 January 2027 (rate of the last 7 days).");
}

TEST(Forecast, OfAYoungVolumeCountsItsLife) {
  const auto forecast = make_forecast(growth(kNow - 2 * kDay, {{kNow - kDay, 10}}), 100, 200, kNow);
  EXPECT_DOUBLE_EQ(*forecast.slots_per_day, 5);
  EXPECT_EQ(basis_of(forecast), "rate since the volume was made");
  // A day at the least: one block in the first minute is no storm.
  EXPECT_DOUBLE_EQ(*make_forecast(growth(kNow - 60, {{kNow - 60, 1}}), 100, 200, kNow).slots_per_day, 1);
}

TEST(Forecast, LostAndWeakBlocksTakeNoSlots) {
  const auto forecast = make_forecast(growth(kNow - 100 * kDay, {{kNow - kDay, 0}}), 100, 200, kNow);
  EXPECT_FALSE(forecast.slots_per_day);
  EXPECT_FALSE(forecast.runs_out_at);
  EXPECT_EQ(in_words(forecast), "No slot was taken in the last 7 days.");
}

TEST(Forecast, SaysWhatThereIsToSay) {
  EXPECT_EQ(in_words(make_forecast(growth(0, {}), 0, 200, kNow)), "No slot is free: add a spare.");
  const auto slow = make_forecast(growth(0, {{kNow - kDay, 1}}), 1'000'000, 1'000'000, kNow);
  EXPECT_FALSE(slow.runs_out_at);
  EXPECT_EQ(in_words(slow), "At 1.0 slots a week the spare lasts for more than a century.");
  EXPECT_TRUE(
      in_words(make_forecast(growth(0, {{kNow - kDay, 700}}), 50, 200, kNow)).starts_with("At 100 slots a day "));
  // A clock that was wrong when the volume was made.
  EXPECT_TRUE(make_forecast(growth(kNow + kDay, {{kNow - 60, 1}}), 10, 20, kNow).slots_per_day);
}

}  // namespace
}  // namespace remapfs::cli
