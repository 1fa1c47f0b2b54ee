// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "remapfs/error.hpp"

namespace remapfs::store {

// How a connection may use the map file.
enum class SqlAccess {
  write,  // the one connection that writes and checkpoints
  read,   // beside a writer: takes SQLite's locks, may create the -shm file
  // For a caller that owns the map, so that nobody writes: looks without touching. Reads the file alone when there is
  // no log, else reads the log with its index in memory; only where readers hold the file does it fall back to `read`.
  look,
};

// Opens a map file that exists; nothing about its contents is checked yet.
// path: canonical. Errors: not_found (also where a symbolic link is in it now), permission, foreign, corrupt, busy,
// store.
Result<std::unique_ptr<SQLite::Database>> open_database(const std::string& path, SqlAccess access);

// True when a write-ahead log with something in it lies next to the map.
[[nodiscard]] bool has_log(const std::string& path);

// An exception of SQLiteCpp as an Error about the map `path`; the one place that knows SQLite's result codes.
[[nodiscard]] Error sql_error(const SQLite::Exception& exception, const std::string& path);

// Runs body(), which returns a Result and may use SQLiteCpp and the heap freely; whatever they throw becomes an Error.
template <class Body>
auto sql_guard(const std::string& path, Body&& body) -> std::invoke_result_t<Body> {
  try {
    return std::forward<Body>(body)();
  } catch (const SQLite::Exception& exception) {
    return fail(sql_error(exception, path));
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory, path + ", not enough memory");
  }
}

// Masks, digests and byte counts are stored as SQLite's signed 64-bit integers, bit for bit.
[[nodiscard]] constexpr std::int64_t to_sql(std::uint64_t value) { return static_cast<std::int64_t>(value); }
[[nodiscard]] inline std::uint64_t column_u64(SQLite::Statement& statement, int column) {
  return static_cast<std::uint64_t>(statement.getColumn(column).getInt64());
}

}  // namespace remapfs::store
