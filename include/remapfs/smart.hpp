// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "remapfs/remap_table.hpp"

namespace remapfs {

// What a drive said of itself at some time: a row of `smart` in the map. Unknown is nothing.
struct SmartReading {
  SpareId device = 0;                          // of the volume, 0 is the primary
  std::string at;                              // UTC, "2026-01-31T23:59:59Z"
  std::string drive;                           // model and serial number
  std::optional<bool> passed;                  // by the drive's own judgement
  std::optional<std::uint64_t> reallocated;    // sectors, or what the drive counts as such
  std::optional<std::uint64_t> pending;        // sectors that could not be read, and were not written since
  std::optional<std::uint64_t> uncorrectable;  // errors told to the host
  std::optional<std::uint64_t> wear_percent;   // of flash memory; may pass 100
  std::optional<std::int64_t> temperature;     // degrees Celsius
  std::optional<std::uint64_t> power_on_hours;

  friend bool operator==(const SmartReading&, const SmartReading&) = default;
};

}  // namespace remapfs
