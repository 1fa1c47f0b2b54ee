// SPDX-License-Identifier: Apache-2.0
#include "store/sql.hpp"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace remapfs::store {
namespace {

// Readers of a map never block its writer; these are for other people's programs that write to the file.
constexpr int kReaderBusyMs = 1000;
constexpr int kWriterBusyMs = 5000;

// A link that took the map's name since it was resolved is not followed, or somebody else's file would be written.
constexpr int kHow = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;

std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '?' || c == '#' || c == '%') {
      uri += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

// What no map of ours comes near: its longest values are paths and texts of events.
constexpr std::pair<int, int> kLimits[] = {
    {SQLITE_LIMIT_LENGTH, 1 << 16},          {SQLITE_LIMIT_SQL_LENGTH, 1 << 18},  {SQLITE_LIMIT_COLUMN, 100},
    {SQLITE_LIMIT_EXPR_DEPTH, 100},          {SQLITE_LIMIT_COMPOUND_SELECT, 20},  {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 1},         {SQLITE_LIMIT_VARIABLE_NUMBER, 100}, {SQLITE_LIMIT_WORKER_THREADS, 0},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100},
};

// Settings that keep a damaged or malicious file from doing harm, and memory mapping (SIGBUS) away.
void harden(SQLite::Database& database) {
  sqlite3* handle = database.getHandle();
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  for (const auto& [limit, value] : kLimits) sqlite3_limit(handle, limit, value);
  // Only an orderly close may checkpoint; after a refusal or a failure the files stay as they are.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  database.exec("PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;");
}

// Every connection has one user at a time (MapStore, MapReader), so SQLite need not lock each call: a tenth of the time
// of loading millions of rows.
using DatabasePtr = std::unique_ptr<SQLite::Database>;

// Reads the schema, which makes SQLite open the log and take its locks: errors surface here. It may evaluate what is in
// the file before anybody could look at that (statistics of ANALYZE with a column that is computed), so it ends in
// time.
void touch(SQLite::Database& database) {
  constexpr int kStepsBetween = 100;
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto is_late = [](void* until) {
    return std::chrono::steady_clock::now() > *static_cast<decltype(deadline)*>(until) ? 1 : 0;
  };
  sqlite3_progress_handler(database.getHandle(), kStepsBetween, is_late, &deadline);
  const auto no_handler = [&] { sqlite3_progress_handler(database.getHandle(), 0, nullptr, nullptr); };
  try {
    database.execAndGet("SELECT count(*) FROM sqlite_schema");
  } catch (const SQLite::Exception&) {
    no_handler();
    throw;
  }
  no_handler();
}

DatabasePtr open_reader(const std::string& name, int flags) {
  auto database = std::make_unique<SQLite::Database>(name, SQLite::OPEN_READONLY | kHow | flags, kReaderBusyMs);
  harden(*database);
  database->exec("PRAGMA query_only = ON");
  touch(*database);
  return database;
}

// Sees what is in the log without writing anything: in exclusive mode SQLite keeps the log's index on the heap, and
// without a checkpoint on close it leaves map and log alone (SQLite 3.40, walIndexRecover and sqlite3WalClose).
DatabasePtr open_private(const std::string& path) {
  auto database = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | kHow, 0);
  harden(*database);
  if (sqlite3_db_readonly(database->getHandle(), "main") != 0) {
    throw SQLite::Exception("it was not closed in order and cannot be written: copy it and its -wal elsewhere",
                            SQLITE_READONLY);
  }
  database->exec("PRAGMA locking_mode = EXCLUSIVE");
  touch(*database);
  database->exec("PRAGMA query_only = ON");
  return database;
}

DatabasePtr open_look(const std::string& path) {
  if (!has_log(path)) return open_reader(immutable_uri(path), SQLite::OPEN_URI);
  try {
    return open_private(path);
  } catch (const SQLite::Exception& exception) {
    if (exception.getErrorCode() != SQLITE_BUSY) throw;
  }
  return open_reader(path, 0);
}

DatabasePtr open_writer(const std::string& path) {
  auto database = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | kHow, kWriterBusyMs);
  harden(*database);
  if (sqlite3_db_readonly(database->getHandle(), "main") != 0) {
    throw SQLite::Exception("the file cannot be written", SQLITE_READONLY);
  }
  // Checkpoints are run after a commit has been answered, never inside it.
  database->exec(
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA cache_size = -16384;");
  const std::string mode = database->execAndGet("PRAGMA journal_mode = WAL").getString();
  if (mode != "wal") throw SQLite::Exception("the file system cannot do write-ahead logging", SQLITE_IOERR);
  touch(*database);
  return database;
}

DatabasePtr open_by_access(const std::string& path, SqlAccess access) {
  switch (access) {
    case SqlAccess::write: return open_writer(path);
    case SqlAccess::read: return open_reader(path, 0);
    case SqlAccess::look: return open_look(path);
  }
  REMAPFS_INVARIANT(false && "access is one of the three");
  return nullptr;
}

}  // namespace

bool has_log(const std::string& path) {
  struct stat status {};
  return ::stat((path + "-wal").c_str(), &status) == 0 && status.st_size > 0;
}

Error sql_error(const SQLite::Exception& exception, const std::string& path) {
  const auto message = [&](const char* advice) { return fmt::format("{}, {}{}", path, exception.what(), advice); };
  switch (exception.getErrorCode() & 0xFF) {
    case SQLITE_NOTADB: return {Errc::foreign, 0, fmt::format("{}, not a remapfs map, give the map file", path)};
    case SQLITE_CORRUPT: return {Errc::corrupt, 0, message(", the map is damaged, run `remapfs check`")};
    case SQLITE_CANTOPEN: return {Errc::not_found, 0, message(", check the path and its permissions")};
    case SQLITE_PERM:
    case SQLITE_READONLY: return {Errc::permission, 0, message("")};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Errc::busy, 0, message(", another program writes to the map, end it")};
    case SQLITE_NOMEM: return {Errc::no_memory, 0, message("")};
    case SQLITE_FULL: return {Errc::store, ENOSPC, message(", make room on its file system")};
    case SQLITE_CONSTRAINT: return {Errc::invalid, 0, message("")};
    default: return {Errc::store, 0, message(", check the file system of the map")};
  }
}

Result<std::unique_ptr<SQLite::Database>> open_database(const std::string& path, SqlAccess access) {
  // A map has a log. SQLite would apply a journal to it, and not before somebody writes: after all was checked.
  const std::string journal = path + "-journal";
  struct stat status {};
  if (::lstat(journal.c_str(), &status) == 0 && status.st_size > 0) {
    return fail(Errc::unsupported,
                fmt::format("{}, another program's journal would change the map, move it away", journal));
  }
  return sql_guard(path, [&]() -> Result<DatabasePtr> { return open_by_access(path, access); });
}

}  // namespace remapfs::store
