// SPDX-License-Identifier: Apache-2.0
#include "store/volume_record.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "store/schema.hpp"
#include "store/scrub_codec.hpp"
#include "store/sql.hpp"

namespace remapfs::store {
namespace {

tl::unexpected<Error> damaged(const std::string& path, const std::string& what) {
  return fail(Errc::corrupt, fmt::format("{}, {}, run `remapfs check`", path, what));
}

Result<void> read_volume(SQLite::Database& database, VolumeRecord& record) {
  SQLite::Statement select(database,
                           "SELECT uuid, label, block_size, size_bytes, clean, row_count, row_digest, primary_stamp "
                           "FROM volume");
  VolumeInfo& info = record.info;
  if (!select.executeStep()) return damaged(info.map_path, "the volume's row is missing");
  info.uuid = select.getColumn(0).getString();
  info.label = select.getColumn(1).getString();
  info.block_size = column_u64(select, 2);
  info.size = ByteCount(column_u64(select, 3));
  info.clean = select.getColumn(4).getInt() != 0;
  record.row_count = column_u64(select, 5);
  info.rows = record.row_count;
  record.row_digest = column_u64(select, 6);
  if (!select.isColumnNull(7)) info.primary_stamp = select.getColumn(7).getString();
  if (!Uuid::parse(info.uuid)) return damaged(info.map_path, "the volume's uuid is not one");
  if (!BlockGeometry::is_valid_block_size(info.block_size)) return damaged(info.map_path, "impossible block size");
  if (info.size.value() == 0 || info.size.value() % kSectorSize != 0 || to_sql(info.size.value()) < 0) {
    return damaged(info.map_path, "impossible volume size");
  }
  return {};
}

Result<void> read_spare(SQLite::Statement& select, VolumeRecord& record) {
  const VolumeInfo& info = record.info;
  const std::int64_t id = select.getColumn(0).getInt64();
  const auto uuid = Uuid::parse(select.getColumn(3).getString());
  const SpareLayout layout = SpareLayout::of(ByteCount(column_u64(select, 5)), info.block_size);
  const std::int64_t sequence = select.getColumn(8).getInt64();
  if (id < 1 || id > 255 || !uuid || sequence < 0) {
    return damaged(info.map_path, fmt::format("device {}: impossible values", id));
  }
  if (layout.slots == 0 || layout.slots != column_u64(select, 6) ||
      layout.first_slot.value() != column_u64(select, 7) || layout.device_size.value() != column_u64(select, 5)) {
    return damaged(info.map_path, fmt::format("spare {}: size, slots and first slot do not fit together", id));
  }
  const ByteOffset begin(column_u64(select, 9));
  // The blocks of one that reached into the disk would be written over its data.
  const bool in_disk = begin != ByteOffset(0) && begin.value() < info.size.value();
  const bool twice = std::any_of(info.spares.begin(), info.spares.end(), [&](const SpareInfo& other) {
    return begin != ByteOffset(0) && other.begin != ByteOffset(0) && other.path == select.getColumn(2).getString();
  });
  if (in_disk || twice || !is_aligned(begin.value(), kSlotAlignment) || to_sql(begin.value()) < 0) {
    return damaged(info.map_path, fmt::format("spare {}: impossible beginning", id));
  }
  SpareInfo spare;
  spare.id = static_cast<SpareId>(id);
  spare.begin = begin;
  spare.path = select.getColumn(2).getString();
  spare.uuid = uuid->to_string();
  spare.slots = layout.slots;
  spare.first_slot = layout.first_slot;
  record.info.spares.push_back(spare);
  record.spares.push_back({{*Uuid::parse(info.uuid), *uuid, spare.id, layout}, Sequence(column_u64(select, 8))});
  return {};
}

Result<void> read_devices(SQLite::Database& database, VolumeRecord& record) {
  SQLite::Statement select(database,
                           "SELECT id, role, path, uuid, identity, size_bytes, slots, first_slot, sequence, first_byte "
                           "FROM devices WHERE state = 'active' ORDER BY id");
  bool primary = false;
  while (select.executeStep()) {
    if (select.getColumn(0).getInt64() == 0) {
      primary = true;
      record.info.primary_path = select.getColumn(2).getString();
      record.info.primary_identity = select.getColumn(4).getString();
    } else if (auto spare = read_spare(select, record); !spare) {
      return spare;
    }
  }
  if (!primary) return damaged(record.info.map_path, "the primary's row is missing");
  SQLite::Statement all(database, "SELECT id FROM devices WHERE role = 'spare'");
  while (all.executeStep()) {
    const std::uint64_t id = column_u64(all, 0);
    if (id >= record.known.size()) return damaged(record.info.map_path, fmt::format("impossible device {}", id));
    record.known.set(id);
  }
  return {};
}

Result<void> read_retired(SQLite::Database& database, VolumeRecord& record) {
  SQLite::Statement select(database,
                           "SELECT t.spare_id, t.slot, t.reason, r.block IS NOT NULL FROM retired_slots AS t "
                           "LEFT JOIN remaps AS r ON r.spare_id = t.spare_id AND r.slot = t.slot ORDER BY 1, 2");
  while (select.executeStep()) {
    const std::uint64_t id = column_u64(select, 0);
    const SlotIndex slot(column_u64(select, 1));
    const int at = id > 255 ? -1 : record.position_of(static_cast<SpareId>(id));
    if (at < 0) continue;  // of a spare that has left the volume
    SpareInfo& spare = record.info.spares[static_cast<std::size_t>(at)];
    if (slot.value() >= spare.slots) {
      return damaged(record.info.map_path,
                     fmt::format("retired slot {} is past the end of spare {}", slot.value(), id));
    }
    if (select.getColumn(2).getString() == "tag") record.bad_tag_slots.push_back({spare.id, slot});
    // A block may still live in a slot whose tag went bad; it is retired for all others.
    if (select.getColumn(3).getInt() == 0) spare.retired.push_back(slot);
  }
  return {};
}

// Of tables that are ours.
Result<VolumeRecord> read_checked(SQLite::Database& database, const std::string& path) {
  VolumeRecord record;
  record.info.map_path = path;
  if (auto done = read_volume(database, record); !done) return fail(std::move(done.error()));
  if (auto done = read_devices(database, record); !done) return fail(std::move(done.error()));
  return record;
}

}  // namespace

Result<void> check_kind(SQLite::Database& database, const std::string& path) {
  const std::int64_t application = database.execAndGet("PRAGMA application_id").getInt64();
  if (static_cast<std::uint32_t>(application) != kApplicationId) {
    return fail(Errc::foreign, fmt::format("{}, a database of another program, give the map file", path));
  }
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  if (version > kSchemaVersion) {
    return fail(Errc::too_new,
                fmt::format("{}, made by a newer remapfs (format {}, this one knows {}), use that version", path,
                            version, kSchemaVersion));
  }
  if (version > 0 && version < kSchemaVersion) {
    return fail(Errc::unsupported,
                fmt::format("{}, made by a remapfs from before the first release (format {}), use that "
                            "one to remove its blocks, then make the volume anew",
                            path, version));
  }
  if (version < 1) return damaged(path, fmt::format("impossible format version {}", version));
  return {};
}

int VolumeRecord::position_of(SpareId id) const {
  for (std::size_t i = 0; i < info.spares.size(); ++i) {
    if (info.spares[i].id == id) return static_cast<int>(i);
  }
  return -1;
}

Result<void> VolumeRecord::compare_age(std::size_t position, const Superblock& superblock,
                                       const std::string& device) const {
  auto compared = compare_watermark(superblock.watermark, spares[position].sequence, info.clean, device, info.map_path);
  // A spare that joined after the map was copied may have all that was moved since.
  return compared ? compare_roll(superblock.spares, known, device, info.map_path) : compared;
}

Superblock VolumeRecord::superblock_of(std::size_t position) const {
  const SpareRecord& spare = spares[position];
  Superblock superblock;
  superblock.volume = spare.expected.volume;
  superblock.spare = spare.expected.spare;
  superblock.id = spare.expected.id;
  superblock.layout = spare.expected.layout;
  superblock.watermark = spare.sequence;
  superblock.volume_size = info.size;
  return superblock;
}

Result<VolumeRecord> read_volume_and_devices(SQLite::Database& database, const std::string& path) {
  return sql_guard(path, [&]() -> Result<VolumeRecord> {
    if (auto done = check_kind(database, path); !done) return fail(std::move(done.error()));
    if (const std::string table = find_false_table(database); !table.empty()) {
      return damaged(path, fmt::format("something else is in the place of its table {}", table));
    }
    return read_checked(database, path);
  });
}

Result<VolumeRecord> read_volume_record(SQLite::Database& database, const std::string& path) {
  return sql_guard(path, [&]() -> Result<VolumeRecord> {
    if (auto done = check_kind(database, path); !done) return fail(std::move(done.error()));
    if (const std::string different = find_schema_difference(database); !different.empty()) {
      return damaged(path, fmt::format("its tables and views are not as they were made ({})", different));
    }
    auto record = read_checked(database, path);
    if (!record) return record;
    if (auto done = read_retired(database, *record); !done) return fail(std::move(done.error()));
    auto scrub = read_scrub(database);
    if (!scrub) return damaged(path, scrub.error().message);
    record->info.scrub = std::move(*scrub);
    return record;
  });
}

}  // namespace remapfs::store
