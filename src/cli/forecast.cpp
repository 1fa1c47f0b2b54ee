// SPDX-License-Identifier: Apache-2.0
#include "cli/forecast.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/utc.hpp"

namespace remapfs::cli {
namespace {

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kOneDay = 24 * kHour;
constexpr std::int64_t kWindow = 7 * kOneDay;
constexpr double kCentury = 36525;  // days

// "2027-07-04T..." -> "4 July 2027"
std::string day_text(std::int64_t at) {
  constexpr std::array kMonths{"January", "February", "March",     "April",   "May",      "June",
                               "July",    "August",   "September", "October", "November", "December"};
  const std::string text = utc_text(at);
  const int month = std::stoi(text.substr(5, 2));
  return fmt::format("{} {} {}", std::stoi(text.substr(8, 2)), kMonths.at(static_cast<std::size_t>(month - 1)),
                     text.substr(0, 4));
}

std::string rate_text(double per_day) {
  if (per_day >= 10) return fmt::format("{:.0f} slots a day", per_day);
  if (per_day >= 0.95) return fmt::format("{:.1f} slots a day", per_day);
  return fmt::format("{:.1f} slots a week", per_day * 7);
}

}  // namespace

std::string forecast_begin(std::int64_t now) { return utc_text(now - kWindow); }

Forecast make_forecast(const store::MapGrowth& growth, std::uint64_t slots_free, std::uint64_t slots_total,
                       std::int64_t now) {
  Forecast forecast;
  forecast.slots_free = slots_free;
  forecast.slots_total = slots_total;
  const std::int64_t born = utc_seconds(growth.created_at).value_or(0);
  const std::int64_t window = std::clamp(now - born, kOneDay, kWindow);
  forecast.whole_window = window == kWindow;
  std::uint64_t taken = 0;
  for (const store::NewEntries& entries : growth.hours) {
    const auto hour = utc_seconds(entries.hour);
    if (hour && *hour + kHour > now - window) taken += entries.remapped;
  }
  if (taken == 0) return forecast;
  const double per_day = static_cast<double>(taken) * kOneDay / static_cast<double>(window);
  forecast.slots_per_day = per_day;
  const double days = static_cast<double>(slots_free) / per_day;
  if (days < kCentury) forecast.runs_out_at = now + static_cast<std::int64_t>(days * kOneDay);
  return forecast;
}

std::string basis_of(const Forecast& forecast) {
  return forecast.whole_window ? "rate of the last 7 days" : "rate since the volume was made";
}

std::string in_words(const Forecast& forecast) {
  if (forecast.slots_free == 0) return "No slot is free: add a spare.";
  if (!forecast.slots_per_day) {
    return fmt::format("No slot was taken {}.",
                       forecast.whole_window ? "in the last 7 days" : "since the volume was made");
  }
  const std::string rate = rate_text(*forecast.slots_per_day);
  if (!forecast.runs_out_at) return fmt::format("At {} the spare lasts for more than a century.", rate);
  return fmt::format("At {} the spare is full about {} ({}).", rate, day_text(*forecast.runs_out_at),
                     basis_of(forecast));
}

}  // namespace remapfs::cli
