// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace remapfs::store {

inline constexpr std::uint32_t kApplicationId = 0x524D4653;  // "RMFS"
inline constexpr int kSchemaVersion = 2;

// Events kept; older ones are dropped as new ones come.
inline constexpr std::int64_t kEventsKept = 10'000;

// Makes every table and view of an empty map. The comments inside stay in sqlite_schema, so that `.schema` explains
// the file to whoever opens it.
extern const char* const kSchemaSql;

}  // namespace remapfs::store
