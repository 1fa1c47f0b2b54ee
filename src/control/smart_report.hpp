// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "core/json.hpp"
#include "remapfs/error.hpp"
#include "remapfs/smart.hpp"

namespace remapfs {

inline constexpr std::size_t kMostSmartReadings = 256;  // of one request: one a device

// [{"device":0,"at":"...","drive":"...","passed":true,"reallocated":0,...}]; unknown is null.
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<SmartReading>& readings);
// Errors: invalid.
[[nodiscard]] Result<std::vector<SmartReading>> smart_readings_of(const nlohmann::ordered_json& list);

}  // namespace remapfs
