// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/smart.hpp"

namespace remapfs::store {

// Rows of `smart`: the only place that knows its columns. Throws what SQLiteCpp throws.

extern const char* const kAddSmartSql;
void bind_smart(SQLite::Statement& statement, const SmartReading& reading);
// Leaves the newest of a device; its parameters are its number and how many.
extern const char* const kTrimSmartSql;
inline constexpr std::int64_t kSmartKept = 2000;

// All of them, oldest first. Errors: corrupt (values that no reading has).
Result<std::vector<SmartReading>> read_smart(SQLite::Database& database);

}  // namespace remapfs::store
