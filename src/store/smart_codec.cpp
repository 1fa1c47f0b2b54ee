// SPDX-License-Identifier: Apache-2.0
#include "store/smart_codec.hpp"

#include <algorithm>
#include <limits>

#include "store/sql.hpp"

namespace remapfs::store {
namespace {

void bind_number(SQLite::Statement& statement, int position, const std::optional<std::uint64_t>& value) {
  // Drives are known to answer with all ones.
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  value ? statement.bind(position, static_cast<std::int64_t>(std::min(*value, kMost))) : statement.bind(position);
}

std::optional<std::uint64_t> number(SQLite::Statement& statement, int column) {
  if (statement.isColumnNull(column)) return std::nullopt;
  return column_u64(statement, column);
}

}  // namespace

const char* const kAddSmartSql =
    "INSERT INTO smart (device_id, at, drive, passed, reallocated, pending, uncorrectable, wear_percent, temperature, "
    "power_on_hours) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const char* const kTrimSmartSql =
    "DELETE FROM smart WHERE device_id = ?1 AND id NOT IN "
    "(SELECT id FROM smart WHERE device_id = ?1 ORDER BY id DESC LIMIT ?2)";

void bind_smart(SQLite::Statement& statement, const SmartReading& reading) {
  statement.bind(1, std::int64_t{reading.device});
  statement.bind(2, reading.at);
  statement.bind(3, reading.drive);
  reading.passed ? statement.bind(4, *reading.passed ? 1 : 0) : statement.bind(4);
  bind_number(statement, 5, reading.reallocated);
  bind_number(statement, 6, reading.pending);
  bind_number(statement, 7, reading.uncorrectable);
  bind_number(statement, 8, reading.wear_percent);
  reading.temperature ? statement.bind(9, *reading.temperature) : statement.bind(9);
  bind_number(statement, 10, reading.power_on_hours);
}

Result<std::vector<SmartReading>> read_smart(SQLite::Database& database) {
  SQLite::Statement select(database,
                           "SELECT device_id, at, drive, passed, reallocated, pending, uncorrectable, wear_percent, "
                           "temperature, power_on_hours FROM smart ORDER BY id");
  std::vector<SmartReading> readings;
  while (select.executeStep()) {
    const std::int64_t device = select.getColumn(0).getInt64();
    if (device < 0 || device > 255) return fail(Errc::corrupt, "a SMART reading of a device that cannot be");
    SmartReading& reading = readings.emplace_back();
    reading.device = static_cast<SpareId>(device);
    reading.at = select.getColumn(1).getString();
    reading.drive = select.getColumn(2).getString();
    if (!select.isColumnNull(3)) reading.passed = select.getColumn(3).getInt64() != 0;
    reading.reallocated = number(select, 4);
    reading.pending = number(select, 5);
    reading.uncorrectable = number(select, 6);
    reading.wear_percent = number(select, 7);
    if (!select.isColumnNull(8)) reading.temperature = select.getColumn(8).getInt64();
    reading.power_on_hours = number(select, 9);
  }
  return readings;
}

}  // namespace remapfs::store
