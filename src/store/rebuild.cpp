// SPDX-License-Identifier: Apache-2.0
#include "store/rebuild.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "store/map_lock.hpp"
#include "store/new_map.hpp"
#include "store/row_codec.hpp"
#include "store/scrub_codec.hpp"
#include "store/smart_codec.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sql.hpp"
#include "store/sqlite_map_store.hpp"
#include "store/surviving_tags.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

struct SalvagedRow {
  RemapRow row;
  std::string created_at;
  std::string updated_at;
};

// Reads a table whose pages may be damaged: from its beginning, and where that ends early, from its end as well.
// take: may see a row twice. False: not all of it could be read.
bool read_both_ways(SQLite::Database& database, const std::string& columns_from_table, const std::string& key,
                    const std::function<void(SQLite::Statement&)>& take) {
  for (const char* order : {"", " DESC"}) {
    try {
      SQLite::Statement select(database, fmt::format("SELECT {} ORDER BY {}{}", columns_from_table, key, order));
      while (select.executeStep()) take(select);
      return *order == '\0';
    } catch (const SQLite::Exception&) {
      continue;
    }
  }
  return false;
}

class Rebuilding {
 public:
  Rebuilding(const MapLock& lock, SQLite::Database& database, const std::map<SpareId, BlockDevice*>& spares)
      : lock_(lock), database_(database), spares_(spares) {}

  Result<Rebuilt> run() {
    auto record = read_volume_and_devices(database_, path());
    if (!record) return fail(std::move(record.error()));
    record_ = std::move(*record);
    if (auto done = check_spares(); !done) return fail(std::move(done.error()));
    salvage_rows();
    if (!adds_up()) {
      if (auto done = take_rows_of_tags(); !done) return fail(std::move(done.error()));
    }
    auto contents = describe_volume();
    if (!contents) return fail(std::move(contents.error()));
    if (auto done = replace(*contents); !done) return fail(std::move(done.error()));
    return std::move(result_);
  }

 private:
  [[nodiscard]] const std::string& path() const { return lock_.path(); }

  // Map and spares have to be of one age before anything is believed.
  Result<void> check_spares() {
    for (std::size_t i = 0; i < record_.spares.size(); ++i) {
      const SpareRecord& spare = record_.spares[i];
      BlockDevice& device = *spares_.at(spare.expected.id);
      auto superblock =
          choose_superblock(read_superblocks(device, spare.expected.layout), spare.expected, device.name());
      if (!superblock) return fail(std::move(superblock.error()));
      auto compared = record_.compare_age(i, *superblock, device.name());
      if (!compared) return compared;
    }
    return {};
  }

  void salvage_rows() {
    std::vector<Sequence> sequences;
    for (const SpareRecord& spare : record_.spares) sequences.push_back(spare.sequence);
    const RowRules rules(record_.info, std::move(sequences));
    // Through the table alone: the index may be what is damaged.
    read_both_ways(database_, REMAPFS_ROW_COLUMNS ", created_at, updated_at FROM remaps NOT INDEXED", "block",
                   [&](SQLite::Statement& select) {
                     const auto row = read_row(select);
                     if (!row || !rules.problem_of_committed(*row).empty()) return;
                     rows_.insert_or_assign(row->block, SalvagedRow{*row, select.getColumn(9).getString(),
                                                                    select.getColumn(10).getString()});
                   });
  }

  [[nodiscard]] bool adds_up() const {
    RowTotals totals;
    for (const auto& [block, salvaged] : rows_) totals.enter(row_digest(salvaged.row));
    return totals == RowTotals{record_.row_count, record_.row_digest};
  }

  // Remapped rows from the tags, where the rest of what was read makes up the whole.
  Result<void> take_rows_of_tags() {
    std::map<BlockIndex, SalvagedRow> remapped;
    for (const SpareRecord& spare : record_.spares) {
      auto tags = read_surviving_tags(*spares_.at(spare.expected.id));
      if (!tags) return fail(std::move(tags.error()));
      if (!tags->proven || tags->superblock.watermark != spare.sequence) return not_whole();
      for (const RemapRow& row : tags->rows) {
        SalvagedRow& place = remapped[row.block];
        const auto read = rows_.find(row.block);
        if (read != rows_.end() && row_digest(read->second.row) == row_digest(row)) {
          place = read->second;
        } else {
          place = {row, {}, {}};
        }
      }
    }
    std::erase_if(rows_, [](const auto& entry) { return entry.second.row.state == EntryState::remapped; });
    for (auto& [block, salvaged] : remapped) rows_.insert_or_assign(block, std::move(salvaged));
    if (adds_up()) return {};
    return not_whole();
  }

  [[nodiscard]] tl::unexpected<Error> not_whole() const {
    return fail(Errc::corrupt,
                fmt::format("{}, its rows can be made whole neither from what is left of it nor from the spare, use "
                            "`remapfs recover`",
                            path()));
  }

  Result<NewMap> describe_volume() {
    return sql_guard(path(), [&]() -> Result<NewMap> {
      NewMap map;
      map.uuid = record_.info.uuid;
      map.label = record_.info.label;
      map.created_at = database_.execAndGet("SELECT created_at FROM volume").getString();
      map.block_size = record_.info.block_size;
      map.size = record_.info.size;
      map.primary_path = record_.info.primary_path;
      map.primary_identity = record_.info.primary_identity;
      map.clean = record_.info.clean;
      for (std::size_t i = 0; i < record_.spares.size(); ++i) {
        const SpareRecord& spare = record_.spares[i];
        SQLite::Statement identity(database_, "SELECT identity FROM devices WHERE id = ?");
        identity.bind(1, std::int64_t{spare.expected.id});
        if (!identity.executeStep()) return not_whole();
        const SpareInfo& info = record_.info.spares[i];
        map.spares.push_back(
            {record_.superblock_of(i), info.path, identity.getColumn(0).getString(), spare.sequence, info.begin});
      }
      map.former = read_former();
      map.rows = [this](const NewMap::PutRow& put) -> Result<void> {
        for (const auto& [block, salvaged] : rows_) {
          if (auto done = put(salvaged.row, salvaged.created_at, salvaged.updated_at); !done) return done;
        }
        return {};
      };
      salvage_rest(map);
      return map;
    });
  }

  // Throws what SQLiteCpp throws.
  std::vector<NewMapSpare> read_former() {
    SQLite::Statement select(database_,
                             "SELECT id, path, uuid, identity, size_bytes, first_byte, slots, first_slot, sequence "
                             "FROM devices WHERE role = 'spare' AND state = 'retired' ORDER BY id");
    std::vector<NewMapSpare> former;
    while (select.executeStep()) {
      NewMapSpare spare;
      spare.superblock.id = static_cast<SpareId>(column_u64(select, 0));
      if (const auto uuid = Uuid::parse(select.getColumn(2).getString())) spare.superblock.spare = *uuid;
      spare.superblock.layout.device_size = ByteCount(column_u64(select, 4));
      spare.superblock.layout.slots = column_u64(select, 6);
      spare.superblock.layout.first_slot = ByteOffset(column_u64(select, 7));
      spare.path = select.getColumn(1).getString();
      spare.identity = select.getColumn(3).getString();
      spare.sequence = Sequence(column_u64(select, 8));
      spare.begin = ByteOffset(column_u64(select, 5));
      former.push_back(std::move(spare));
    }
    return former;
  }

  void salvage_rest(NewMap& map) {
    std::map<SlotAddress, RetiredSlot> retired;
    if (!read_both_ways(database_, "spare_id, slot, reason, at FROM retired_slots", "spare_id, slot",
                        [&](SQLite::Statement& select) {
                          const std::uint64_t id = column_u64(select, 0);
                          const SlotIndex slot(column_u64(select, 1));
                          const std::string reason = select.getColumn(2).getString();
                          const int position = id > 255 ? -1 : record_.position_of(static_cast<SpareId>(id));
                          if (position < 0 || (reason != "slot" && reason != "tag")) return;
                          if (slot.value() >= record_.info.spares[static_cast<std::size_t>(position)].slots) return;
                          const SlotAddress where{static_cast<SpareId>(id), slot};
                          retired[where] = {where, reason, select.getColumn(3).getString()};
                        })) {
      result_.lost.emplace_back("not every retired slot could be read: a slot that failed may be tried again");
    }
    for (auto& [where, slot] : retired) map.retired.push_back(std::move(slot));
    const auto scrub = sql_guard(path(), [&] { return read_scrub(database_); });
    if (scrub) {
      map.scrub = *scrub;
    } else {
      result_.lost.emplace_back("how far the last scrub came could not be read");
    }
    auto smart = sql_guard(path(), [&] { return read_smart(database_); });
    if (smart) {
      map.smart = std::move(*smart);
    } else {
      result_.lost.emplace_back("the SMART readings could not be read");
    }
    std::map<std::int64_t, ListedEvent> events;
    if (!read_both_ways(database_, "id, at, kind, block, detail FROM events", "id", [&](SQLite::Statement& select) {
          ListedEvent event = read_event(select);
          if (event.id > 0 && !event.at.empty()) events[event.id] = std::move(event);
        })) {
      result_.lost.emplace_back("not every event could be read: the history has gaps");
    }
    for (auto& [id, event] : events) map.events.push_back(std::move(event));
    map.events.push_back(
        {0, {}, {"repaired", std::nullopt, fmt::format("the file was rebuilt, {} rows", rows_.size())}});
  }

  Result<void> replace(const NewMap& contents) {
    auto map = TemporaryMap::make_beside(path());
    if (!map) return fail(std::move(map.error()));
    if (auto filled = fill_map(map->path(), contents); !filled) return fail(std::move(filled.error()));
    auto loaded =
        SqliteMapStore::open_loaded(map->path(), {.read_only = true, .degraded = false, .repair = true}, spares_);
    if (!loaded) return fail(std::move(loaded.error()));
    loaded->reset();
    result_.kept_as = free_name();
    return map->replace(path(), result_.kept_as);
  }

  [[nodiscard]] std::string free_name() const {
    std::string name = path() + ".damaged";
    for (int i = 1; !require_free_name(name) && i < 1000; ++i) name = fmt::format("{}.damaged.{}", path(), i);
    return name;
  }

  const MapLock& lock_;
  SQLite::Database& database_;
  const std::map<SpareId, BlockDevice*>& spares_;
  VolumeRecord record_;
  std::map<BlockIndex, SalvagedRow> rows_;
  Rebuilt result_;
};

}  // namespace

Result<Rebuilt> rebuild_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares) {
  auto lock = MapLock::acquire(path, false);
  if (!lock) return fail(std::move(lock.error()));
  if (auto header = lock->check_header(); !header) return fail(std::move(header.error()));
  auto database = open_database(lock->path(), SqlAccess::look);
  if (!database) return fail(std::move(database.error()));
  return sql_guard(path, [&] { return Rebuilding(*lock, **database, spares).run(); });
}

}  // namespace remapfs::store
