// SPDX-License-Identifier: Apache-2.0
#include "store/map_reader.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <tuple>

#include "store/row_codec.hpp"
#include "store/smart_codec.hpp"
#include "store/sql.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// What would be different had somebody written to the file.
std::optional<std::tuple<dev_t, ino_t, off_t, time_t, long>> fingerprint(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return std::tuple(status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

ListedRow listed(SQLite::Statement& statement, const RemapRow& row, std::uint64_t block_size) {
  return {row, BlockGeometry(block_size).begin_of(row.block), statement.getColumn(9).getString(),
          statement.getColumn(10).getString()};
}

constexpr const char* kListed = "SELECT " REMAPFS_ROW_COLUMNS ", created_at, updated_at FROM remaps";

Result<std::vector<ListedEvent>> read_events(SQLite::Statement& select) {
  std::vector<ListedEvent> events;
  while (select.executeStep()) events.push_back(read_event(select));
  return events;
}

std::int64_t as_limit(std::uint64_t count) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(count, std::uint64_t{1} << 62U));
}

}  // namespace

ListedEvent read_event(SQLite::Statement& statement) {
  ListedEvent event;
  event.id = statement.getColumn(0).getInt64();
  event.at = statement.getColumn(1).getString();
  event.event.kind = statement.getColumn(2).getString();
  if (!statement.isColumnNull(3)) event.event.block = BlockIndex(column_u64(statement, 3));
  event.event.detail = statement.getColumn(4).getString();
  return event;
}

// Runs body(database, record) inside one read transaction.
template <class Body>
auto MapReader::with_database(Body&& body) const {
  using Answer = std::invoke_result_t<Body, SQLite::Database&, const VolumeRecord&>;
  return sql_guard(path_, [&]() -> Answer {
    // Without a log nobody has the map open, and SQLite must not make one: look at the file alone, and afterwards make
    // sure that it stayed alone.
    const bool at_rest = !exists(path_ + "-wal");
    const auto before = fingerprint(path_);
    auto database = open_database(path_, at_rest ? SqlAccess::look : SqlAccess::read);
    if (!database) return fail(std::move(database.error()));
    (*database)->exec("BEGIN");
    auto record = read_volume_record(**database, path_);
    Answer answer = record ? body(**database, *record) : Answer(fail(record.error()));
    if (at_rest && (exists(path_ + "-wal") || fingerprint(path_) != before)) {
      return fail(Errc::busy, fmt::format("{}, the map was mounted or unmounted just now, try again", path_));
    }
    return answer;
  });
}

Result<MapReader> MapReader::open(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (!resolved) {
    const int error = errno;
    return fail(error == EACCES ? Errc::permission : Errc::not_found,
                fmt::format("{}, {}, give the map file", path, std::strerror(error)), error);
  }
  MapReader reader(resolved.get());
  auto info = reader.info();
  if (!info) return fail(std::move(info.error()));
  return reader;
}

Result<VolumeInfo> MapReader::info() const {
  return with_database([](SQLite::Database&, const VolumeRecord& record) -> Result<VolumeInfo> { return record.info; });
}

Result<SpareId> MapReader::highest_spare() const {
  return with_database([](SQLite::Database& database, const VolumeRecord&) -> Result<SpareId> {
    return static_cast<SpareId>(database.execAndGet("SELECT max(id) FROM devices").getInt());
  });
}

Result<std::vector<std::string>> MapReader::former_spares() const {
  return with_database([](SQLite::Database& database, const VolumeRecord&) -> Result<std::vector<std::string>> {
    SQLite::Statement select(database, "SELECT uuid FROM devices WHERE role = 'spare' AND state = 'retired'");
    std::vector<std::string> uuids;
    while (select.executeStep()) uuids.push_back(select.getColumn(0).getString());
    return uuids;
  });
}

Result<std::vector<SmartReading>> MapReader::smart() const {
  return with_database([](SQLite::Database& database, const VolumeRecord&) { return read_smart(database); });
}

Result<MapGrowth> MapReader::growth(const std::string& since) const {
  return with_database([&](SQLite::Database& database, const VolumeRecord&) -> Result<MapGrowth> {
    MapGrowth growth;
    growth.created_at = database.execAndGet("SELECT created_at FROM volume").getString();
    SQLite::Statement by_hour(
        database,
        "SELECT substr(created_at, 1, 13) AS hour, state, count(*) FROM remaps "
        "WHERE created_at >= ? AND created_at > (SELECT created_at FROM volume) GROUP BY hour, state ORDER BY hour");
    by_hour.bind(1, since);
    while (by_hour.executeStep()) {
      const std::string hour = by_hour.getColumn(0).getString() + ":00:00Z";
      if (growth.hours.empty() || growth.hours.back().hour != hour) growth.hours.push_back({hour});
      const std::string state = by_hour.getColumn(1).getString();
      NewEntries& here = growth.hours.back();
      (state == state_text(EntryState::remapped) ? here.remapped
       : state == state_text(EntryState::lost)   ? here.lost
                                                 : here.weak) += column_u64(by_hour, 2);
    }
    return growth;
  });
}

Result<MapSummary> MapReader::summary() const {
  return with_database([&](SQLite::Database& database, const VolumeRecord& record) -> Result<MapSummary> {
    const BlockGeometry geometry(record.info.block_size);
    MapSummary summary;
    SQLite::Statement by_state(database, "SELECT state, count(*) FROM remaps GROUP BY state");
    while (by_state.executeStep()) {
      const std::string state = by_state.getColumn(0).getString();
      const std::uint64_t count = column_u64(by_state, 1);
      if (state == state_text(EntryState::remapped)) summary.remapped_blocks = count;
      if (state == state_text(EntryState::lost)) summary.lost_blocks = count;
      if (state == state_text(EntryState::weak)) summary.weak_blocks = count;
    }
    SQLite::Statement partial(database, "SELECT block, valid_mask FROM remaps WHERE valid_mask <> ?");
    partial.bind(1, to_sql(geometry.full_mask()));
    while (partial.executeStep()) {
      const std::uint64_t begin = geometry.begin_of(BlockIndex(column_u64(partial, 0))).value();
      const std::uint64_t inside = std::min(geometry.block_size(), record.info.size.value() - begin);
      const SectorMask on_disk = BlockGeometry::sectors_covered(0, inside);
      summary.lost_sectors += static_cast<std::uint64_t>(std::popcount(on_disk & ~column_u64(partial, 1)));
    }
    SQLite::Statement used(database, "SELECT count(*) FROM remaps WHERE spare_id = ?");
    for (const SpareInfo& spare : record.info.spares) {
      used.bind(1, std::int64_t{spare.id});
      used.executeStep();
      const std::uint64_t usable = spare.slots - spare.retired.size();
      const std::uint64_t taken = column_u64(used, 0);
      used.reset();
      summary.spares.push_back({spare.id, usable, usable - std::min(usable, taken), false});
      summary.slots_total += usable;
      summary.slots_free += summary.spares.back().free;
      summary.slots_retired += spare.retired.size();
    }
    return summary;
  });
}

Result<void> MapReader::for_each_row(const std::function<Result<void>(const ListedRow&)>& visit) const {
  return with_database([&](SQLite::Database& database, const VolumeRecord& record) -> Result<void> {
    SQLite::Statement select(database, std::string(kListed) + " ORDER BY block");
    while (select.executeStep()) {
      auto row = read_row(select);
      if (!row) return fail(std::move(row.error()));
      if (auto visited = visit(listed(select, *row, record.info.block_size)); !visited) return visited;
    }
    return {};
  });
}

Result<std::optional<ListedRow>> MapReader::find_row(BlockIndex block) const {
  return with_database([&](SQLite::Database& database, const VolumeRecord& record) -> Result<std::optional<ListedRow>> {
    SQLite::Statement select(database, std::string(kListed) + " WHERE block = ?");
    select.bind(1, to_sql(block.value()));
    if (!select.executeStep()) return std::nullopt;
    auto row = read_row(select);
    if (!row) return fail(std::move(row.error()));
    return listed(select, *row, record.info.block_size);
  });
}

Result<std::vector<ListedEvent>> MapReader::newest_events(std::uint64_t count) const {
  return with_database([&](SQLite::Database& database, const VolumeRecord&) {
    SQLite::Statement select(database,
                             "SELECT id, at, kind, block, detail FROM events WHERE id IN "
                             "(SELECT id FROM events ORDER BY id DESC LIMIT ?) ORDER BY id");
    select.bind(1, as_limit(count));
    return read_events(select);
  });
}

Result<std::vector<ListedEvent>> MapReader::events_after(std::int64_t id, std::uint64_t limit) const {
  return with_database([&](SQLite::Database& database, const VolumeRecord&) {
    SQLite::Statement select(database,
                             "SELECT id, at, kind, block, detail FROM events WHERE id > ? ORDER BY id LIMIT ?");
    select.bind(1, id);
    select.bind(2, as_limit(limit));
    return read_events(select);
  });
}

}  // namespace remapfs::store
