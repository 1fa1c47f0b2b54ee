// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "remapfs/error.hpp"
#include "store/map_reader.hpp"

namespace remapfs::cli {

// When the spares will be full, if blocks go on to die as they do.
struct Forecast {
  std::uint64_t slots_free = 0;
  std::uint64_t slots_total = 0;
  std::optional<double> slots_per_day;      // nothing: none was taken
  std::optional<std::int64_t> runs_out_at;  // seconds since 1970; nothing: not at this rate, or not in a century
  bool whole_window = false;                // the rate of the last 7 days; otherwise that since the volume was made
};

// From what appeared in the last 7 days, or since the volume was made if that is later (a day at the least).
// growth: at least of those 7 days. now: seconds since 1970.
[[nodiscard]] Forecast make_forecast(const store::MapGrowth& growth, std::uint64_t slots_free,
                                     std::uint64_t slots_total, std::int64_t now);
// The time from which on growth counts.
[[nodiscard]] std::string forecast_begin(std::int64_t now);

// For people: "rate of the last 7 days", "At 12 slots a day the spare is full about 4 July 2027 (...)."
[[nodiscard]] std::string basis_of(const Forecast& forecast);
[[nodiscard]] std::string in_words(const Forecast& forecast);

}  // namespace remapfs::cli
