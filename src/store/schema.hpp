// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace SQLite {
class Database;
}

namespace remapfs::store {

inline constexpr std::uint32_t kApplicationId = 0x524D4653;  // "RMFS"
inline constexpr int kSchemaVersion = 2;

// Events kept; older ones are dropped as new ones come.
inline constexpr std::int64_t kEventsKept = 10'000;

// Makes every table and view of an empty map. The comments inside stay in sqlite_schema, so that `.schema` explains
// the file to whoever opens it.
extern const char* const kSchemaSql;

// Names a table, index, view or trigger that is not as kSchemaSql makes it, is missing, or does not belong; empty: all
// is well. What ANALYZE leaves may be there. Whatever else is in a map could run when it is read: a view that never
// ends, a trigger, a condition. Throws what SQLiteCpp throws.
[[nodiscard]] std::string find_schema_difference(SQLite::Database& database);
// Of a map that may be damaged: names one of our tables in whose place is something else; empty: there is none.
[[nodiscard]] std::string find_false_table(SQLite::Database& database);

}  // namespace remapfs::store
