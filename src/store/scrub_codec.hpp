// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include "remapfs/error.hpp"
#include "remapfs/scrub.hpp"

namespace remapfs::store {

// The row of `scrub`: the only place that knows its columns. Throws what SQLiteCpp throws.

// Replaces the row; its parameters are bound by bind_scrub().
extern const char* const kPutScrubSql;
// record: not of a volume that was never scrubbed.
void bind_scrub(SQLite::Statement& statement, const ScrubRecord& record);

// The row as it is, or that there is none. Errors: corrupt (values that no scrub has).
Result<ScrubRecord> read_scrub(SQLite::Database& database);

}  // namespace remapfs::store
