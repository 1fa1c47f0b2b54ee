// SPDX-License-Identifier: Apache-2.0
#include "store/create_volume.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <SQLiteCpp/VariadicBind.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "core/unique_fd.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "store/schema.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sql.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

constexpr std::uint64_t kZeroingBytes = std::uint64_t{1} << 20U;

Error from_errno(const std::string& path, int error) {
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

Result<void> require_free_name(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return fail(from_errno(path, EEXIST));
  if (errno != ENOENT) return fail(from_errno(path, errno));
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    const std::string beside = path + suffix;
    if (::lstat(beside.c_str(), &status) != 0) continue;
    return fail(Errc::exists,
                fmt::format("{}, is left from an earlier map and would be applied to a new one, remove it "
                            "or choose another name",
                            beside));
  }
  return {};
}

Result<void> sync_path(const std::string& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return fail(from_errno(path, errno));
  return {};
}

// A file that goes away, with what SQLite puts beside it, unless it gets its final name.
class TemporaryMap {
 public:
  static Result<TemporaryMap> make_beside(const std::string& path) {
    const std::filesystem::path final_path(path);
    TemporaryMap map;
    map.directory_ = final_path.has_parent_path() ? final_path.parent_path().string() : ".";
    map.path_ = (std::filesystem::path(map.directory_) / ("." + final_path.filename().string() + ".XXXXXX")).string();
    const UniqueFd file(::mkostemp(map.path_.data(), O_CLOEXEC));  // mode 0600
    if (!file) {
      const int error = errno;
      map.path_.clear();
      return fail(from_errno(path, error));
    }
    return map;
  }
  TemporaryMap(TemporaryMap&& other) noexcept
      : directory_(std::move(other.directory_)), path_(std::exchange(other.path_, {})) {}
  TemporaryMap& operator=(TemporaryMap&&) = delete;
  ~TemporaryMap() {
    if (path_.empty()) return;
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((path_ + suffix).c_str());
  }

  [[nodiscard]] const std::string& path() const { return path_; }

  // Gives the file its final name, durably, never replacing anything.
  Result<void> appear_as(const std::string& name) {
    if (auto synced = sync_path(path_, O_RDONLY); !synced) return synced;
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) return fail(from_errno(name, errno));
      // A file system that cannot promise not to replace can still refuse to link.
      if (::link(path_.c_str(), name.c_str()) != 0) return fail(from_errno(name, errno));
      ::unlink(path_.c_str());
    }
    path_ = name;  // removed again should the directory fail
    if (auto synced = sync_path(directory_, O_RDONLY | O_DIRECTORY); !synced) return synced;
    path_.clear();
    return {};
  }

 private:
  TemporaryMap() = default;
  std::string directory_;
  std::string path_;
};

void insert_members(SQLite::Database& database, const CreateSpec& spec, const Superblock& superblock) {
  const std::string now = utc_now();
  SQLite::Statement volume(database,
                           "INSERT INTO volume (id, uuid, label, block_size, size_bytes, created_at, clean, row_count, "
                           "row_digest) VALUES (1, ?, ?, ?, ?, ?, 1, 0, 0)");
  SQLite::bind(volume, superblock.volume.to_string(), spec.label, to_sql(spec.block_size), to_sql(spec.size.value()),
               now);
  volume.exec();
  SQLite::Statement primary(database,
                            "INSERT INTO devices (id, role, path, identity, size_bytes, state, sequence) "
                            "VALUES (0, 'primary', ?, ?, ?, 'active', 0)");
  SQLite::bind(primary, spec.primary_path, spec.primary_identity, to_sql(spec.size.value()));
  primary.exec();
  SQLite::Statement spare(database,
                          "INSERT INTO devices (id, role, path, uuid, identity, size_bytes, slots, first_slot, state, "
                          "sequence) VALUES (1, 'spare', ?, ?, ?, ?, ?, ?, 'active', 0)");
  const SpareLayout& layout = superblock.layout;
  SQLite::bind(spare, spec.spare_path, superblock.spare.to_string(), spec.spare_identity,
               to_sql(layout.device_size.value()), to_sql(layout.slots), to_sql(layout.first_slot.value()));
  spare.exec();
  SQLite::Statement event(database, "INSERT INTO events (at, kind, detail) VALUES (?, 'created', ?)");
  SQLite::bind(event, now, fmt::format("{} slots of {} bytes", layout.slots, layout.block_size));
  event.exec();
}

Result<VolumeInfo> fill_map(const std::string& path, const CreateSpec& spec, const Superblock& superblock) {
  return sql_guard(path, [&]() -> Result<VolumeInfo> {
    SQLite::Database database(path, SQLite::OPEN_READWRITE, 0);
    // Nobody else knows the file: no shared memory, no journal on disk; what counts is the sync before the rename.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096; PRAGMA journal_mode = MEMORY;");
    database.exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplicationId, kSchemaVersion));
    SQLite::Transaction transaction(database);
    database.exec(kSchemaSql);
    insert_members(database, spec, superblock);
    transaction.commit();
    if (database.execAndGet("PRAGMA journal_mode = WAL").getString() != "wal") {
      throw SQLite::Exception("the file system cannot do write-ahead logging", SQLITE_IOERR);
    }
    auto record = read_volume_record(database, path);
    if (!record) return fail(std::move(record.error()));
    return std::move(record->info);
  });
}

Result<void> zero(BlockDevice& device, ByteRange range) {
  if (auto zeroed = device.zero_range(range); zeroed || is_media_error(zeroed.error())) return zeroed;
  auto zeros = AlignedBuffer::allocate(kZeroingBytes);
  if (!zeros) return fail(std::move(zeros.error()));
  for (ByteOffset at = range.begin; at < range.end;) {
    const std::uint64_t length = std::min(kZeroingBytes, distance(at, range.end).value());
    if (auto written = device.write_all(at, zeros->first(length)); !written) return written;
    at += length;
  }
  return {};
}

Result<void> initialise_spare(BlockDevice& spare, const Superblock& superblock, bool reads_zeros) {
  const SpareLayout& layout = superblock.layout;
  for (std::size_t i = 0; i < 2 && !reads_zeros; ++i) {
    auto zeroed = zero(spare, {layout.tags[i], layout.tags[i] + layout.tag_table_bytes()});
    if (!zeroed) return zeroed;
  }
  // Tags first: a superblock never stands before tables that belong to something else.
  if (auto synced = spare.sync(); !synced) return synced;
  auto written = write_superblocks(spare, superblock);
  if (!written) return fail(std::move(written.error()));
  for (auto& copy : written->copy) {
    if (!copy) return std::move(copy);  // a spare that starts with a bad superblock is not worth having
  }
  return spare.sync();
}

void wipe_superblocks(BlockDevice& spare, const SpareLayout& layout) {
  for (const ByteOffset at : layout.superblock) {
    if (auto zeroed = zero(spare, {at, at + kStructureAlignment}); !zeroed) continue;
  }
  if (auto synced = spare.sync(); !synced) return;
}

Result<Superblock> design(const CreateSpec& spec, const BlockDevice& spare) {
  if (!BlockGeometry::is_valid_block_size(spec.block_size)) {
    return fail(Errc::invalid, fmt::format("block size {}, must be a power of two from 512 to 32768", spec.block_size));
  }
  if (spec.size.value() == 0 || spec.size.value() % kSectorSize != 0 || to_sql(spec.size.value()) < 0) {
    return fail(Errc::invalid,
                fmt::format("{}, size {} is not a number of whole sectors", spec.primary_path, spec.size.value()));
  }
  const DeviceGeometry& geometry = spare.geometry();
  if (geometry.logical_block > kStructureAlignment || spec.block_size < geometry.logical_block) {
    return fail(Errc::invalid, fmt::format("spare {}, its logical block of {} bytes is larger than the block size {}, "
                                           "choose a larger one",
                                           spare.name(), geometry.logical_block, spec.block_size));
  }
  Superblock superblock;
  superblock.layout = SpareLayout::of(geometry.size, spec.block_size);
  if (superblock.layout.slots == 0) {
    return fail(Errc::invalid, fmt::format("spare {}, {} bytes are too few for one slot, give it at least 2 MiB",
                                           spare.name(), geometry.size.value()));
  }
  auto volume_uuid = Uuid::generate();
  if (!volume_uuid) return fail(std::move(volume_uuid.error()));
  auto spare_uuid = Uuid::generate();
  if (!spare_uuid) return fail(std::move(spare_uuid.error()));
  superblock.volume = *volume_uuid;
  superblock.spare = *spare_uuid;
  return superblock;
}

}  // namespace

Result<VolumeInfo> create_volume(const CreateSpec& spec, BlockDevice& spare) {
  auto superblock = design(spec, spare);
  if (!superblock) return fail(std::move(superblock.error()));
  if (auto free = require_free_name(spec.map_path); !free) return fail(std::move(free.error()));
  auto map = TemporaryMap::make_beside(spec.map_path);
  if (!map) return fail(std::move(map.error()));
  auto info = fill_map(map->path(), spec, *superblock);
  if (!info) return info;
  auto initialised = initialise_spare(spare, *superblock, spec.spare_reads_zeros);
  if (initialised) initialised = map->appear_as(spec.map_path);
  if (!initialised) {
    wipe_superblocks(spare, superblock->layout);
    return fail(std::move(initialised.error()));
  }
  info->map_path = spec.map_path;
  return info;
}

}  // namespace remapfs::store
