// SPDX-License-Identifier: Apache-2.0
#include "store/scrub_codec.hpp"

#include <SQLiteCpp/VariadicBind.h>

#include <string>

#include "store/sql.hpp"

namespace remapfs::store {

const char* const kPutScrubSql =
    "INSERT OR REPLACE INTO scrub (id, state, next_block, rate, moved_blocks, weak_blocks, lost_sectors, "
    "unread_blocks, started_at, updated_at) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

void bind_scrub(SQLite::Statement& statement, const ScrubRecord& record) {
  SQLite::bind(statement, std::string(to_string(record.state)), to_sql(record.next.value()), to_sql(record.rate),
               to_sql(record.found.moved_blocks), to_sql(record.found.weak_blocks), to_sql(record.found.lost_sectors),
               to_sql(record.found.unread_blocks), record.started_at, record.updated_at);
}

Result<ScrubRecord> read_scrub(SQLite::Database& database) {
  SQLite::Statement select(database,
                           "SELECT state, next_block, rate, moved_blocks, weak_blocks, lost_sectors, unread_blocks, "
                           "started_at, updated_at FROM scrub");
  ScrubRecord record;
  if (!select.executeStep()) return record;
  const std::string state = select.getColumn(0).getString();
  for (int i = 1; i <= static_cast<int>(kLastScrubState); ++i) {
    if (state == to_string(static_cast<ScrubState>(i))) record.state = static_cast<ScrubState>(i);
  }
  bool possible = record.state != ScrubState::never;
  for (int column = 1; column <= 6; ++column) possible = possible && select.getColumn(column).getInt64() >= 0;
  if (!possible) return fail(Errc::corrupt, "the record of the last scrub has impossible values");
  record.next = BlockIndex(column_u64(select, 1));
  record.rate = column_u64(select, 2);
  record.found = {column_u64(select, 3), column_u64(select, 4), column_u64(select, 5), column_u64(select, 6)};
  record.started_at = select.getColumn(7).getString();
  record.updated_at = select.getColumn(8).getString();
  return record;
}

}  // namespace remapfs::store
