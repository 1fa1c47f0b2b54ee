// SPDX-License-Identifier: Apache-2.0
#include "store/map_writer.hpp"

#include <SQLiteCpp/VariadicBind.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/utc.hpp"
#include "store/row_codec.hpp"
#include "store/schema.hpp"
#include "store/scrub_codec.hpp"
#include "store/smart_codec.hpp"
#include "store/sql.hpp"

namespace remapfs::store {
namespace {

// A log of about 4 MiB: small enough to recover fast, large enough that checkpoints are rare.
constexpr int kCheckpointFrames = 1000;
// One frame is a page of 4096 bytes and a header; a commit writes at most two after prepare().
constexpr std::int64_t kRoomForCommit = std::int64_t{64} << 10U;
constexpr std::int64_t kRoomAtOnce = std::int64_t{1} << 20U;
// The format of the log, https://www.sqlite.org/fileformat2.html#walformat, for pages of 4096 bytes.
constexpr std::int64_t kLogHeaderBytes = 32;
constexpr std::int64_t kLogSaltAt = 16;
constexpr std::int64_t kFrameBytes = 4096 + 24;

// Leaves a statement ready for its next use, whatever happened to this one.
class StatementUse {
 public:
  explicit StatementUse(SQLite::Statement& statement) : statement_(statement) {}
  ~StatementUse() { statement_.tryReset(); }
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;

 private:
  SQLite::Statement& statement_;
};

}  // namespace

struct MapWriter::Statements {
  explicit Statements(SQLite::Database& database)
      : begin(database, "BEGIN IMMEDIATE"),
        commit(database, "COMMIT"),
        rollback(database, "ROLLBACK"),
        find(database, "SELECT " REMAPFS_ROW_COLUMNS " FROM remaps WHERE block = ?"),
        find_owner(database, "SELECT " REMAPFS_ROW_COLUMNS " FROM remaps WHERE spare_id = ? AND slot = ?"),
        insert(database, "INSERT INTO remaps (" REMAPFS_ROW_COLUMNS
                         ", created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10) "
                         "ON CONFLICT (block) DO NOTHING"),
        update(database,
               "UPDATE remaps SET state = ?2, spare_id = ?3, slot = ?4, valid_mask = ?5, written_mask = ?6, "
               "sequence = ?7, cause = ?8, error_count = error_count + ?9, updated_at = ?10 WHERE block = ?1"),
        erase(database, "DELETE FROM remaps WHERE block = ?"),
        // 'tag' says more than 'slot': the load needs to know it.
        retire(database,
               "INSERT INTO retired_slots (spare_id, slot, reason, at) VALUES (?1, ?2, ?3, ?4) "
               "ON CONFLICT DO UPDATE SET reason = 'tag' WHERE excluded.reason = 'tag'"),
        add_event(database, "INSERT INTO events (at, kind, block, detail) VALUES (?, ?, ?, ?)"),
        trim_events(database, "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"),
        set_sequence(database, "UPDATE devices SET sequence = ? WHERE id = ?"),
        set_totals(database, "UPDATE volume SET row_count = ?, row_digest = ?"),
        set_clean(database, "UPDATE volume SET clean = ?"),
        set_primary_stamp(database, "UPDATE volume SET primary_stamp = ?"),
        set_primary(database, "UPDATE devices SET path = ?, identity = ? WHERE id = 0"),
        put_scrub(database, kPutScrubSql),
        add_smart(database, kAddSmartSql),
        trim_smart(database, kTrimSmartSql) {}

  SQLite::Statement begin, commit, rollback, find, find_owner, insert, update, erase, retire, add_event, trim_events,
      set_sequence, set_totals, set_clean, set_primary_stamp, set_primary, put_scrub, add_smart, trim_smart;
};

void MapWriter::StatementsDeleter::operator()(Statements* statements) const { delete statements; }

Result<std::unique_ptr<MapWriter>> MapWriter::open(const std::string& path) {
  auto database = open_database(path, SqlAccess::write);
  if (!database) return fail(std::move(database.error()));
  return sql_guard(path, [&]() -> Result<std::unique_ptr<MapWriter>> {
    std::unique_ptr<MapWriter> writer(new MapWriter(path));
    writer->database_ = std::move(*database);
    writer->statements_.reset(new Statements(*writer->database_));
    writer->checkpoint_at_frames_ = kCheckpointFrames;
    sqlite3_wal_hook(
        writer->database_->getHandle(),
        [](void* self, sqlite3*, const char*, int frames) {
          static_cast<MapWriter*>(self)->log_frames_ = frames;
          return SQLITE_OK;
        },
        writer.get());
    // SQLite takes no locks on the log itself, so a descriptor of ours does no harm there.
    writer->log_ = UniqueFd(::open((path + "-wal").c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    return writer;
  });
}

template <class Bind>
Result<void> MapWriter::run(SQLite::Statement& statement, Bind&& bind) {
  return sql_guard(path_, [&]() -> Result<void> {
    const StatementUse use(statement);
    bind(statement);
    statement.exec();
    return {};
  });
}

Result<void> MapWriter::begin() {
  return sql_guard(path_, [&]() -> Result<void> {
    now_ = utc_now();
    events_added_ = false;
    int unused = 0;
    sqlite3_db_status(database_->getHandle(), SQLITE_DBSTATUS_CACHE_WRITE, &pages_written_before_, &unused, 0);
    const StatementUse use(statements_->begin);
    statements_->begin.exec();
    return {};
  });
}

Result<std::optional<RemapRow>> MapWriter::find_by(SQLite::Statement& statement, std::int64_t first,
                                                   std::optional<std::int64_t> second) {
  return sql_guard(path_, [&]() -> Result<std::optional<RemapRow>> {
    const StatementUse use(statement);
    statement.bind(1, first);
    if (second) statement.bind(2, *second);
    if (!statement.executeStep()) return std::nullopt;
    auto row = read_row(statement);
    if (!row) return fail(std::move(row.error()));
    return *row;
  });
}

Result<std::optional<RemapRow>> MapWriter::find(BlockIndex block) {
  return find_by(statements_->find, to_sql(block.value()), std::nullopt);
}

Result<std::optional<RemapRow>> MapWriter::find_owner(SlotAddress slot) {
  return find_by(statements_->find_owner, slot.spare, to_sql(slot.slot.value()));
}

Result<bool> MapWriter::insert(const RemapRow& row) {
  auto inserted = write_row(statements_->insert, row);
  if (!inserted) return fail(std::move(inserted.error()));
  return sqlite3_changes(database_->getHandle()) != 0;
}

Result<void> MapWriter::update(const RemapRow& row) { return write_row(statements_->update, row); }

Result<void> MapWriter::write_row(SQLite::Statement& statement, const RemapRow& row) {
  return run(statement, [&](SQLite::Statement& ready) {
    bind_row(ready, row);
    ready.bind(10, now_);
  });
}

Result<void> MapWriter::erase(BlockIndex block) {
  return run(statements_->erase, [&](SQLite::Statement& statement) { statement.bind(1, to_sql(block.value())); });
}

Result<void> MapWriter::retire(SlotAddress slot, const char* reason) {
  return run(statements_->retire, [&](SQLite::Statement& statement) {
    statement.bind(1, std::int64_t{slot.spare});
    statement.bind(2, to_sql(slot.slot.value()));
    statement.bind(3, reason);
    statement.bind(4, now_);
  });
}

Result<void> MapWriter::add_event(const Event& event) {
  events_added_ = true;
  return run(statements_->add_event, [&](SQLite::Statement& statement) {
    statement.bind(1, now_);
    statement.bind(2, event.kind);
    event.block ? statement.bind(3, to_sql(event.block->value())) : statement.bind(3);
    statement.bind(4, event.detail);
  });
}

Result<void> MapWriter::put_scrub(const ScrubRecord& record) {
  return run(statements_->put_scrub, [&](SQLite::Statement& statement) { bind_scrub(statement, record); });
}

Result<void> MapWriter::add_smart(const SmartReading& reading) {
  auto added = run(statements_->add_smart, [&](SQLite::Statement& statement) { bind_smart(statement, reading); });
  if (!added) return added;
  return run(statements_->trim_smart, [&](SQLite::Statement& statement) {
    statement.bind(1, std::int64_t{reading.device});
    statement.bind(2, kSmartKept);
  });
}

// Changes of spares are rare: their statements are made when they are needed.
Result<void> MapWriter::add_spare(const SpareInfo& spare, const std::string& identity, ByteCount size) {
  return sql_guard(path_, [&]() -> Result<void> {
    SQLite::Statement insert(*database_,
                             "INSERT INTO devices (id, role, path, uuid, identity, size_bytes, slots, first_slot, "
                             "state, sequence) VALUES (?, 'spare', ?, ?, ?, ?, ?, ?, 'active', 0)");
    SQLite::bind(insert, std::int64_t{spare.id}, spare.path, spare.uuid, identity, to_sql(size.value()),
                 to_sql(spare.slots), to_sql(spare.first_slot.value()));
    insert.exec();
    return {};
  });
}

Result<void> MapWriter::retire_spare(SpareId id) {
  return sql_guard(path_, [&]() -> Result<void> {
    for (const char* text :
         {"UPDATE devices SET state = 'retired' WHERE id = ?", "DELETE FROM retired_slots WHERE spare_id = ?"}) {
      SQLite::Statement statement(*database_, text);
      statement.bind(1, std::int64_t{id});
      statement.exec();
    }
    return {};
  });
}

Result<bool> MapWriter::is_used(SpareId id) { return has_row("SELECT 1 FROM remaps WHERE spare_id = ? LIMIT 1", id); }
Result<bool> MapWriter::is_known(SpareId id) { return has_row("SELECT 1 FROM devices WHERE id = ?", id); }

Result<bool> MapWriter::has_row(const char* text, SpareId id) {
  return sql_guard(path_, [&]() -> Result<bool> {
    SQLite::Statement select(*database_, text);
    select.bind(1, std::int64_t{id});
    return select.executeStep();
  });
}

Result<void> MapWriter::set_sequence(SpareId spare, Sequence sequence) {
  return run(statements_->set_sequence, [&](SQLite::Statement& statement) {
    statement.bind(1, to_sql(sequence.value()));
    statement.bind(2, std::int64_t{spare});
  });
}

Result<void> MapWriter::set_totals(std::uint64_t row_count, std::uint64_t row_digest) {
  return run(statements_->set_totals, [&](SQLite::Statement& statement) {
    statement.bind(1, to_sql(row_count));
    statement.bind(2, to_sql(row_digest));
  });
}

Result<void> MapWriter::set_clean(bool clean) {
  return run(statements_->set_clean, [&](SQLite::Statement& statement) { statement.bind(1, clean ? 1 : 0); });
}

Result<void> MapWriter::set_primary_stamp(const std::string& stamp) {
  return run(statements_->set_primary_stamp,
             [&](SQLite::Statement& statement) { stamp.empty() ? statement.bind(1) : statement.bind(1, stamp); });
}

Result<void> MapWriter::set_primary(const PrimaryRecord& primary) {
  return run(statements_->set_primary, [&](SQLite::Statement& statement) {
    statement.bind(1, primary.path);
    statement.bind(2, primary.identity);
  });
}

Result<void> MapWriter::prepare() {
  if (events_added_) {
    auto trimmed = run(statements_->trim_events, [&](SQLite::Statement& statement) { statement.bind(1, kEventsKept); });
    if (!trimmed) return trimmed;
    events_added_ = false;
  }
  auto flushed = sql_guard(path_, [&]() -> Result<void> {
    const int result = sqlite3_db_cacheflush(database_->getHandle());
    // Busy says that some page is in use and stays in the cache: no harm.
    if (result != SQLITE_OK && (result & 0xFF) != SQLITE_BUSY) throw SQLite::Exception(database_->getHandle(), result);
    return {};
  });
  if (!flushed) return flushed;
  return reserve_log();
}

bool MapWriter::log_in_place() const {
  struct stat open_log {};
  struct stat named {};
  if (!log_ || ::fstat(log_.get(), &open_log) != 0) return true;  // cannot be told
  return ::stat((path_ + "-wal").c_str(), &named) == 0 && named.st_dev == open_log.st_dev &&
         named.st_ino == open_log.st_ino;
}

// Makes sure that the frames a commit writes after prepare() have their place on the file system. Where the next frame
// goes follows from the frames of the last commit and those of this transaction; a log that was emptied by a checkpoint
// starts again from its beginning, and shows it by a new salt in its header.
Result<void> MapWriter::reserve_log() {
  struct stat status {};
  if (!log_ || ::fstat(log_.get(), &status) != 0) return {};
  std::uint64_t salt = 0;
  if (::pread(log_.get(), &salt, sizeof salt, kLogSaltAt) == sizeof salt && salt != log_salt_) {
    log_salt_ = salt;
    log_frames_ = 0;
  }
  int written = 0;
  int unused = 0;
  sqlite3_db_status(database_->getHandle(), SQLITE_DBSTATUS_CACHE_WRITE, &written, &unused, 0);
  const std::int64_t next = kLogHeaderBytes + (log_frames_ + written - pages_written_before_) * kFrameBytes;
  if (next + kRoomForCommit <= std::max<std::int64_t>(status.st_size, log_reserved_end_)) return {};
  for (const std::int64_t room : {kRoomAtOnce, kRoomForCommit}) {
    if (::fallocate(log_.get(), FALLOC_FL_KEEP_SIZE, next, room) == 0) {
      log_reserved_end_ = next + room;
      return {};
    }
    if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG) return {};  // a file system without reservations
  }
  return fail(Errc::store, fmt::format("{}, {}, make room on its file system", path_, std::strerror(errno)), ENOSPC);
}

bool MapWriter::make_room() {
  if (checkpoint_failed_) return false;
  checkpoint();
  checkpoint_at_frames_ = log_frames_ + kCheckpointFrames;
  return true;
}

Result<void> MapWriter::commit() {
  return sql_guard(path_, [&]() -> Result<void> {
    const StatementUse use(statements_->commit);
    statements_->commit.exec();
    return {};
  });
}

Result<void> MapWriter::rollback() {
  // After some errors SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(database_->getHandle()) != 0) return {};
  return sql_guard(path_, [&]() -> Result<void> {
    const StatementUse use(statements_->rollback);
    statements_->rollback.exec();
    return {};
  });
}

bool MapWriter::checkpoint() {
  const int result =
      sqlite3_wal_checkpoint_v2(database_->getHandle(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  // Busy and locked: a reader is in the way, the rest follows another time.
  const int kind = result & 0xFF;
  // Full: nothing was synced that failed, so a later try is as good as the first.
  if (kind != SQLITE_OK && kind != SQLITE_BUSY && kind != SQLITE_LOCKED && kind != SQLITE_FULL) {
    checkpoint_failed_ = true;
  }
  return kind == SQLITE_OK;
}

void MapWriter::checkpoint_if_due() {
  if (checkpoint_failed_ || log_frames_ < checkpoint_at_frames_) {
    // The log starts again from its beginning after a complete checkpoint.
    if (log_frames_ < kCheckpointFrames) checkpoint_at_frames_ = kCheckpointFrames;
    return;
  }
  checkpoint();
  checkpoint_at_frames_ = log_frames_ + kCheckpointFrames;
}

Result<void> MapWriter::close() {
  statements_.reset();
  if (!checkpoint_failed_ && checkpoint()) {
    sqlite3_db_config(database_->getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  }
  const bool failed = checkpoint_failed_;
  database_.reset();
  if (!failed) return {};
  return fail(Errc::store, fmt::format("{}, its log could not be merged into it, keep {}-wal with it", path_, path_));
}

}  // namespace remapfs::store
