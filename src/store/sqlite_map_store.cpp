// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_map_store.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "store/sql.hpp"

namespace remapfs::store {

SqliteMapStore::SqliteMapStore(MapLock lock, OpenOptions options) : lock_(std::move(lock)), options_(options) {}

SqliteMapStore::~SqliteMapStore() = default;

Result<std::unique_ptr<SqliteMapStore>> SqliteMapStore::open(const std::string& path, const OpenOptions& options) {
  if (options.degraded && !options.read_only) {
    return fail(Errc::invalid, fmt::format("{}, a volume without all its spares can only be read, add -o ro", path));
  }
  auto lock = MapLock::acquire(path, options.read_only, options.lock_wait);
  if (!lock) return fail(std::move(lock.error()));
  if (auto header = lock->check_header(); !header) return fail(std::move(header.error()));
  std::unique_ptr<SqliteMapStore> store(new SqliteMapStore(std::move(*lock), options));
  auto look = open_database(store->lock_.path(), SqlAccess::look);
  if (!look) return fail(std::move(look.error()));
  store->look_ = std::move(*look);
  auto record = read_volume_record(*store->look_, store->lock_.path());
  if (!record) return fail(std::move(record.error()));
  store->record_ = std::move(*record);
  return store;
}

Result<std::unique_ptr<SqliteMapStore>> SqliteMapStore::open_loaded(const std::string& path, const OpenOptions& options,
                                                                    const std::map<SpareId, BlockDevice*>& spares) {
  auto store = open(path, options);
  if (!store) return store;
  for (const auto& [id, device] : spares) {
    if (auto attached = (*store)->attach_spare(id, *device); !attached) return fail(std::move(attached.error()));
  }
  auto loaded = (*store)->load([](std::span<const RemapRow>) -> Result<void> { return {}; });
  if (!loaded) return fail(std::move(loaded.error()));
  return store;
}

Result<void> SqliteMapStore::attach_spare(SpareId id, BlockDevice& device) {
  REMAPFS_INVARIANT(state_ == State::opened);
  const int position = record_.position_of(id);
  if (position < 0) {
    return fail(Errc::not_found, fmt::format("{}, the volume has no spare {}", record_.info.map_path, id));
  }
  const SpareRecord& record = record_.spares[static_cast<std::size_t>(position)];
  const SuperblockCopies copies = read_superblocks(device, record.expected.layout);
  auto superblock = choose_superblock(copies, record.expected, device.name());
  const bool lost = !superblock && options_.repair && copies.both_lost();
  if (lost) superblock = record_.superblock_of(static_cast<std::size_t>(position));
  if (!superblock) return fail(std::move(superblock.error()));
  auto compared = record_.compare_age(static_cast<std::size_t>(position), *superblock, device.name());
  if (!compared) return compared;
  if (device.geometry().size < superblock->layout.device_size) {
    return fail(Errc::corrupt,
                fmt::format("spare {}, the device has shrunk from {} to {} bytes, give it back its size", device.name(),
                            superblock->layout.device_size.value(), device.geometry().size.value()));
  }
  spares_.erase(id);
  spares_.emplace(id, Spare{static_cast<std::size_t>(position), TagTable(device, superblock->layout, superblock->spare),
                            *superblock, copies.agree(), lost});
  return {};
}

Result<std::optional<RemapRow>> SqliteMapStore::look_up(const char* condition, std::int64_t first,
                                                        std::optional<std::int64_t> second) {
  return sql_guard(lock_.path(), [&]() -> Result<std::optional<RemapRow>> {
    SQLite::Statement select(*look_, fmt::format("SELECT " REMAPFS_ROW_COLUMNS " FROM remaps WHERE {}", condition));
    select.bind(1, first);
    if (second) select.bind(2, *second);
    if (!select.executeStep()) return std::nullopt;
    auto row = read_row(select);
    if (!row) return fail(std::move(row.error()));
    return *row;
  });
}

Result<std::optional<RemapRow>> SqliteMapStore::find_row(BlockIndex block) {
  if (state_ != State::loaded) {
    return fail(Errc::store, fmt::format("{}, the map is not open for use", lock_.path()));
  }
  auto row = writer_ ? writer_->find(block) : look_up("block = ?", to_sql(block.value()), std::nullopt);
  if (!row && row.error().code != Errc::corrupt) row.error().code = Errc::store;
  return row;
}

// Makes every tag what the map says, as far as it can be done; true when all of them are.
bool SqliteMapStore::settle_spares() {
  std::vector<SpareId> doubtful;
  for (const auto& [id, spare] : spares_) {
    if (!spare.doubtful.empty()) doubtful.push_back(id);
  }
  wrote_unasked_ = wrote_unasked_ || options_.repair || !doubtful.empty();
  if (untold_) {
    for (auto& [id, spare] : spares_) spare.not_taken.reset();
    tell_spares();
  }
  if (!doubtful.empty() && !run_commit({}, doubtful)) return false;
  return !tags_suspect_ && std::all_of(spares_.begin(), spares_.end(), [](const auto& entry) {
    return entry.second.superblocks_agree && entry.second.tags.both_copies_good();
  });
}

Result<void> SqliteMapStore::in_place() const {
  if (lock_.in_place() && writer_->log_in_place()) return {};
  return fail(Errc::store,
              fmt::format("{}, the map or its log was deleted, renamed or replaced while it was in use, put "
                          "it back under its name",
                          lock_.path()));
}

Result<void> SqliteMapStore::close() {
  Result<void> closed;
  // Refused, failed, or read-only: everything stays as it is.
  if (state_ == State::loaded && writer_) {
    const bool finished = finish_commits().left.empty();
    closed = close_writer(settle_spares() && finished);
    if (closed && !lock_.in_place()) closed = in_place();
  }
  state_ = State::closed;
  look_.reset();
  writer_.reset();
  lock_.release();  // after SQLite has closed the file
  return closed;
}

Result<void> SqliteMapStore::close_writer(bool clean) {
  if (state_ != State::loaded) return {};  // the last commit failed: not for us to say anything about the map
  auto recorded = writer_->begin();
  for (const Event& event : own_events_) {
    if (recorded) recorded = writer_->add_event(event);
  }
  // A spare may be part of the primary's file, which was written to since its stamp was taken.
  const VolumeInfo& info = record_.info;
  const auto in_primary = [&](const SpareInfo& spare) { return info.is_end_of_primary(spare); };
  if (recorded && wrote_unasked_ && std::any_of(info.spares.begin(), info.spares.end(), in_primary)) {
    recorded = writer_->set_primary_stamp("");
  }
  if (recorded) recorded = writer_->set_clean(clean);
  if (recorded) recorded = writer_->prepare();
  if (recorded) recorded = writer_->commit();
  if (recorded) return writer_->close();
  recorded.error().code = Errc::store;
  return recorded;
}

}  // namespace remapfs::store
