// SPDX-License-Identifier: Apache-2.0
#include "store/backup.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "store/check.hpp"
#include "store/map_lock.hpp"
#include "store/new_map.hpp"
#include "store/sql.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

Result<void> copy(SQLite::Database& from, const std::string& to) {
  return sql_guard(to, [&]() -> Result<void> {
    SQLite::Database database = open_alone(to);
    sqlite3_backup* const backup = sqlite3_backup_init(database.getHandle(), "main", from.getHandle(), "main");
    if (backup == nullptr) throw SQLite::Exception(database.getHandle());
    // All of it in one step, that is, of one moment.
    const int stepped = sqlite3_backup_step(backup, -1);
    const int finished = sqlite3_backup_finish(backup);
    if (stepped != SQLITE_DONE) throw SQLite::Exception(sqlite3_errstr(stepped), stepped);
    if (finished != SQLITE_OK) throw SQLite::Exception(sqlite3_errstr(finished), finished);
    turn_on_log(database);
    return {};
  });
}

Result<void> accept(const std::string& copy, const std::string& original) {
  auto findings = check_map(copy, {});
  if (!findings) return fail(std::move(findings.error()));
  const auto wrong = std::find_if(findings->begin(), findings->end(),
                                  [](const Finding& finding) { return finding.severity == Finding::Severity::error; });
  if (wrong == findings->end()) return {};
  return fail(Errc::corrupt,
              fmt::format("{}, the map is damaged ({}), unmount it and run `remapfs check`", original, wrong->text));
}

}  // namespace

Result<VolumeInfo> backup_map(const std::string& map_path, const std::string& file) {
  if (auto free = require_free_name(file); !free) return fail(std::move(free.error()));
  // Whoever has the map mounted owns it; then it is read beside them.
  auto lock = MapLock::acquire(map_path, true);
  if (!lock && lock.error().code != Errc::busy) return fail(std::move(lock.error()));
  auto source = open_database(map_path, lock ? SqlAccess::look : SqlAccess::read);
  if (!source) return fail(std::move(source.error()));
  auto record = read_volume_and_devices(**source, map_path);
  if (!record) return fail(std::move(record.error()));
  auto backup = TemporaryMap::make_beside(file);
  if (!backup) return fail(std::move(backup.error()));
  if (auto copied = copy(**source, backup->path()); !copied) return fail(std::move(copied.error()));
  if (auto accepted = accept(backup->path(), map_path); !accepted) return fail(std::move(accepted.error()));
  if (auto named = backup->appear_as(file); !named) return fail(std::move(named.error()));
  return std::move(record->info);
}

}  // namespace remapfs::store
