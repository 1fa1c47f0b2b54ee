// SPDX-License-Identifier: Apache-2.0
#include "store/new_map.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <SQLiteCpp/VariadicBind.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/unique_fd.hpp"
#include "core/utc.hpp"
#include "store/row_codec.hpp"
#include "store/schema.hpp"
#include "store/scrub_codec.hpp"
#include "store/smart_codec.hpp"
#include "store/sql.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

constexpr const char* kBeside[] = {"-wal", "-shm", "-journal"};

Error why_not_made(const std::string& path, int error) {
  const std::string message = fmt::format("{}, {}, check the path and its file system", path, std::strerror(error));
  switch (error) {
    case EEXIST: return {Errc::exists, error, fmt::format("{}, exists already, choose another name", path)};
    case ENOENT:
    case ENOTDIR: return {Errc::not_found, error, message};
    case EACCES:
    case EPERM:
    case EROFS: return {Errc::permission, error, message};
    default: return {Errc::store, error, message};
  }
}

Result<void> sync_path(const std::string& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return fail(why_not_made(path, errno));
  return {};
}

// Never replaces anything.
Result<void> rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno != EINVAL && errno != ENOSYS) return fail(why_not_made(to, errno));
  // A file system that cannot promise not to replace can still refuse to link.
  if (::link(from.c_str(), to.c_str()) != 0) return fail(why_not_made(to, errno));
  ::unlink(from.c_str());
  return {};
}

void insert_volume(SQLite::Database& database, const NewMap& map, const std::string& now) {
  SQLite::Statement volume(database,
                           "INSERT INTO volume (id, uuid, label, block_size, size_bytes, created_at, clean, row_count, "
                           "row_digest) VALUES (1, ?, ?, ?, ?, ?, ?, 0, 0)");
  SQLite::bind(volume, map.uuid, map.label, to_sql(map.block_size), to_sql(map.size.value()),
               map.created_at.empty() ? now : map.created_at, map.clean ? 1 : 0);
  volume.exec();
  SQLite::Statement primary(database,
                            "INSERT INTO devices (id, role, path, identity, size_bytes, state, sequence) "
                            "VALUES (0, 'primary', ?, ?, ?, 'active', 0)");
  SQLite::bind(primary, map.primary_path, map.primary_identity, to_sql(map.size.value()));
  primary.exec();
  SQLite::Statement insert(database,
                           "INSERT INTO devices (id, role, path, uuid, identity, size_bytes, first_byte, slots, "
                           "first_slot, state, sequence) VALUES (?, 'spare', ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const auto& [spares, state] : {std::pair{&map.spares, "active"}, std::pair{&map.former, "retired"}}) {
    for (const NewMapSpare& spare : *spares) {
      const SpareLayout& layout = spare.superblock.layout;
      SQLite::bind(insert, std::int64_t{spare.superblock.id}, spare.path, spare.superblock.spare.to_string(),
                   spare.identity, to_sql(layout.device_size.value()), to_sql(spare.begin.value()),
                   to_sql(layout.slots), to_sql(layout.first_slot.value()), state, to_sql(spare.sequence.value()));
      insert.exec();
      insert.reset();
    }
  }
}

Result<void> insert_rows(SQLite::Database& database, const NewMap& map, const std::string& now) {
  RowTotals totals;
  SQLite::Statement insert(database, "INSERT INTO remaps (" REMAPFS_ROW_COLUMNS
                                     ", created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
  auto put = map.rows([&](const RemapRow& row, const std::string& created_at, const std::string& updated_at) {
    return sql_guard(database.getFilename(), [&]() -> Result<void> {
      bind_row(insert, row);
      insert.bind(10, created_at.empty() ? now : created_at);
      insert.bind(11, updated_at.empty() ? now : updated_at);
      insert.exec();
      insert.reset();
      totals.enter(row_digest(row));
      return {};
    });
  });
  if (!put) return put;
  SQLite::Statement total(database, "UPDATE volume SET row_count = ?, row_digest = ?");
  SQLite::bind(total, to_sql(totals.count), to_sql(totals.digest));
  total.exec();
  return {};
}

void insert_rest(SQLite::Database& database, const NewMap& map, const std::string& now) {
  SQLite::Statement retire(database, "INSERT INTO retired_slots (spare_id, slot, reason, at) VALUES (?, ?, ?, ?)");
  for (const RetiredSlot& slot : map.retired) {
    SQLite::bind(retire, std::int64_t{slot.where.spare}, to_sql(slot.where.slot.value()), slot.reason,
                 slot.at.empty() ? now : slot.at);
    retire.exec();
    retire.reset();
  }
  if (map.scrub.state != ScrubState::never) {
    SQLite::Statement scrub(database, kPutScrubSql);
    bind_scrub(scrub, map.scrub);
    scrub.exec();
  }
  SQLite::Statement smart(database, kAddSmartSql);
  for (const SmartReading& reading : map.smart) {
    bind_smart(smart, reading);
    smart.exec();
    smart.reset();
  }
  SQLite::Statement add(database, "INSERT INTO events (id, at, kind, block, detail) VALUES (?, ?, ?, ?, ?)");
  for (const ListedEvent& event : map.events) {
    add.clearBindings();
    if (event.id != 0) add.bind(1, event.id);
    add.bind(2, event.at.empty() ? now : event.at);
    add.bind(3, event.event.kind);
    if (event.event.block) add.bind(4, to_sql(event.event.block->value()));
    add.bind(5, event.event.detail);
    add.exec();
    add.reset();
  }
}

}  // namespace

SQLite::Database open_alone(const std::string& path) {
  SQLite::Database database(path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOFOLLOW, 0);
  database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096; PRAGMA journal_mode = MEMORY;");
  return database;
}

void turn_on_log(SQLite::Database& database) {
  if (database.execAndGet("PRAGMA journal_mode = WAL").getString() != "wal") {
    throw SQLite::Exception("the file system cannot do write-ahead logging", SQLITE_IOERR);
  }
}

Result<VolumeInfo> fill_map(const std::string& path, const NewMap& map) {
  return sql_guard(path, [&]() -> Result<VolumeInfo> {
    SQLite::Database database = open_alone(path);
    database.exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplicationId, kSchemaVersion));
    SQLite::Transaction transaction(database);
    database.exec(kSchemaSql);
    const std::string now = utc_now();
    insert_volume(database, map, now);
    if (map.rows) {
      if (auto inserted = insert_rows(database, map, now); !inserted) return fail(std::move(inserted.error()));
    }
    insert_rest(database, map, now);
    transaction.commit();
    turn_on_log(database);
    auto record = read_volume_record(database, path);
    if (!record) return fail(std::move(record.error()));
    return std::move(record->info);
  });
}

Result<void> require_free_name(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return fail(why_not_made(path, EEXIST));
  if (errno != ENOENT) return fail(why_not_made(path, errno));
  for (const char* suffix : kBeside) {
    const std::string beside = path + suffix;
    if (::lstat(beside.c_str(), &status) != 0) continue;
    return fail(Errc::exists,
                fmt::format("{}, is left from an earlier map and would be applied to a new one, remove it "
                            "or choose another name",
                            beside));
  }
  return {};
}

Result<TemporaryMap> TemporaryMap::make_beside(const std::string& path) {
  const std::filesystem::path final_path(path);
  TemporaryMap map;
  std::error_code error;
  // SQLite is not to follow links, wherever they are.
  const auto folder = std::filesystem::canonical(final_path.has_parent_path() ? final_path.parent_path() : ".", error);
  if (error) return fail(why_not_made(path, error.value()));
  map.directory_ = folder.string();
  map.path_ = (folder / ("." + final_path.filename().string() + ".XXXXXX")).string();
  map.file_.reset(::mkostemp(map.path_.data(), O_CLOEXEC));  // mode 0600
  if (!map.file_) {
    const int why = errno;
    map.path_.clear();
    return fail(why_not_made(path, why));
  }
  return map;
}

Result<void> TemporaryMap::check_name(const std::string& name) const {
  struct stat made {};
  struct stat found {};
  if (::fstat(file_.get(), &made) == 0 && ::lstat(name.c_str(), &found) == 0 && made.st_dev == found.st_dev &&
      made.st_ino == found.st_ino) {
    return {};
  }
  return fail(Errc::permission,
              fmt::format("{}, somebody else has put another file there, use a folder that is yours", name));
}

TemporaryMap::TemporaryMap(TemporaryMap&& other) noexcept
    : directory_(std::move(other.directory_)), path_(std::exchange(other.path_, {})), file_(std::move(other.file_)) {}

TemporaryMap::~TemporaryMap() {
  // What somebody else put there is not ours to remove.
  if (path_.empty() || !check_name(path_)) return;
  ::unlink(path_.c_str());
  for (const char* suffix : kBeside) ::unlink((path_ + suffix).c_str());
}

Result<void> TemporaryMap::appear_as(const std::string& name) {
  if (::fsync(file_.get()) != 0) return fail(why_not_made(path_, errno));
  if (auto ours = check_name(path_); !ours) return ours;
  if (auto renamed = rename_new(path_, name); !renamed) return renamed;
  path_ = name;  // removed again should the directory fail
  if (auto ours = check_name(name); !ours) return ours;
  if (auto synced = sync_path(directory_, O_RDONLY | O_DIRECTORY); !synced) return synced;
  path_.clear();
  return {};
}

Result<void> TemporaryMap::replace(const std::string& name, const std::string& keep_as) {
  if (auto free = require_free_name(keep_as); !free) return free;
  if (::fsync(file_.get()) != 0) return fail(why_not_made(path_, errno));
  if (auto ours = check_name(path_); !ours) return ours;
  // The old map gives up its name first: at no moment does the name mean a map without its log, which would be an
  // older map, nor the new one with the log of the old, which SQLite would apply to it.
  if (auto kept = rename_new(name, keep_as); !kept) return kept;
  if (::rename((name + "-wal").c_str(), (keep_as + "-wal").c_str()) != 0 && errno != ENOENT) {
    const int error = errno;
    ::rename(keep_as.c_str(), name.c_str());
    return fail(why_not_made(name + "-wal", error));
  }
  ::unlink((name + "-shm").c_str());
  auto done = sync_path(directory_, O_RDONLY | O_DIRECTORY);
  if (done) done = rename_new(path_, name);
  if (done) {
    path_.clear();
    done = check_name(name);
  }
  if (done) return sync_path(directory_, O_RDONLY | O_DIRECTORY);
  // Back to where it was, the log first, unless somebody else has taken the name.
  ::rename((keep_as + "-wal").c_str(), (name + "-wal").c_str());
  if (!rename_new(keep_as, name)) {
    done.error().message += fmt::format("; the old map is {}, give it back its name", keep_as);
  }
  return done;
}

}  // namespace remapfs::store
