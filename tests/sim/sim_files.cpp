// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_files.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <utility>

#include "remapfs/error.hpp"
#include "sim/failing_memory.hpp"

namespace remapfs::sim {

namespace fs = std::filesystem;

// --- UnsyncedFile ---

void UnsyncedFile::remember(sqlite3_file& open, std::uint64_t offset, std::uint64_t length) {
  sqlite3_int64 size = 0;
  REMAPFS_INVARIANT(open.pMethods->xFileSize(&open, &size) == SQLITE_OK);
  sizes_.push_back(static_cast<std::uint64_t>(size));
  for (std::uint64_t sector = offset / kSectorSize; sector * kSectorSize < offset + length; ++sector) {
    Unsynced& unsynced = sectors_[sector];
    unsynced.in_doubt = false;
    Sector& old = unsynced.versions.emplace_back();
    // A short read fills the rest with zeros.
    const int result =
        open.pMethods->xRead(&open, old.data(), kSectorSize, static_cast<sqlite3_int64>(sector * kSectorSize));
    REMAPFS_INVARIANT(result == SQLITE_OK || result == SQLITE_IOERR_SHORT_READ);
  }
}

void UnsyncedFile::deleted() {
  std::ifstream file(path_, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ghost_.emplace(bytes.size());
  std::memcpy(ghost_->data(), bytes.data(), bytes.size());
  sectors_.clear();
  sizes_.clear();
}

void UnsyncedFile::synced() {
  std::erase_if(sectors_, [](const auto& entry) { return !entry.second.in_doubt; });
  sizes_.clear();
  ghost_.reset();
  created_ = false;
}

void UnsyncedFile::doubt() {
  for (auto& [sector, unsynced] : sectors_) unsynced.in_doubt = true;
}

void UnsyncedFile::lose_power(Random& random) {
  std::error_code none;
  const bool there = fs::exists(path_, none);
  if (there && created_ && random.one_in(2)) {
    fs::remove(path_, none);
  } else if (there) {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    for (const auto& [sector, unsynced] : sectors_) {
      const std::vector<Sector>& versions = unsynced.versions;
      // Index versions.size() stands for the contents the file has now.
      const std::uint64_t kept = random.below(versions.size() + 1);
      if (kept == versions.size()) continue;
      file.seekp(static_cast<std::streamoff>(sector * kSectorSize));
      file.write(reinterpret_cast<const char*>(versions[kept].data()), kSectorSize);
    }
    file.close();
    if (!sizes_.empty()) {
      sizes_.push_back(fs::file_size(path_));
      fs::resize_file(path_, sizes_[random.below(sizes_.size())]);
    }
  } else if (ghost_ && random.one_in(2)) {
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(ghost_->data()), static_cast<std::streamsize>(ghost_->size()));
  }
  created_ = false;
  ghost_.reset();
  sectors_.clear();
  sizes_.clear();
}

// --- The VFS ---

namespace {

// A file of ours; the ordinary VFS's file follows it in the same memory.
struct SimFile {
  sqlite3_file base;
  SimFiles* files;
  UnsyncedFile* unsynced;  // nothing for a temporary file
};
static_assert(sizeof(SimFile) % alignof(std::max_align_t) == 0 || alignof(SimFile) <= 8);

SimFile& ours(sqlite3_file* file) { return *reinterpret_cast<SimFile*>(file); }
sqlite3_file* inner(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<SimFile*>(file) + 1);
}
SimFiles& files_of(sqlite3_vfs* vfs) { return *static_cast<SimFiles*>(vfs->pAppData); }
sqlite3_vfs* ordinary() {
  static sqlite3_vfs* const found = sqlite3_vfs_find("unix");
  return found;
}

// Carries out what changes a file, if the World lets it.
template <class Change>
int change(SimFile& file, int error, Change&& carry_out) {
  const MachinesMemory enough;
  const World::Fate fate = file.files->world().step(true);
  if (fate == World::Fate::nothing) return error;
  if (fate == World::Fate::happens && file.files->fails(SimFiles::What::change)) return error;
  const int result = carry_out();
  return fate == World::Fate::happens ? result : error;
}

int close_file(sqlite3_file* file) { return inner(file)->pMethods->xClose(inner(file)); }
int read_file(sqlite3_file* file, void* out, int length, sqlite3_int64 offset) {
  SimFiles& files = *ours(file).files;
  if (files.world().step(false) != World::Fate::happens || files.fails(SimFiles::What::anything))
    return SQLITE_IOERR_READ;
  return inner(file)->pMethods->xRead(inner(file), out, length, offset);
}
int write_file(sqlite3_file* file, const void* data, int length, sqlite3_int64 offset) {
  return change(ours(file), SQLITE_IOERR_WRITE, [&] {
    if (UnsyncedFile* const unsynced = ours(file).unsynced) {
      unsynced->remember(*inner(file), static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
    }
    return inner(file)->pMethods->xWrite(inner(file), data, length, offset);
  });
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return change(ours(file), SQLITE_IOERR_TRUNCATE, [&] {
    sqlite3_int64 old_size = 0;
    inner(file)->pMethods->xFileSize(inner(file), &old_size);
    if (UnsyncedFile* const unsynced = ours(file).unsynced) {
      const sqlite3_int64 first = std::min(size, old_size);
      unsynced->remember(*inner(file), static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(old_size - first));
    }
    return inner(file)->pMethods->xTruncate(inner(file), size);
  });
}
int sync_file(sqlite3_file* file, int flags) {
  SimFile& mine = ours(file);
  bool carried_out = false;
  const int result = change(mine, SQLITE_IOERR_FSYNC, [&] {
    carried_out = true;
    const int done = inner(file)->pMethods->xSync(inner(file), flags);
    if (mine.unsynced != nullptr) mine.unsynced->synced();
    return done;
  });
  if (!carried_out && !mine.files->world().ended() && mine.unsynced != nullptr) mine.unsynced->doubt();
  return result;
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  if (ours(file).files->fails(SimFiles::What::anything)) return SQLITE_IOERR_FSTAT;
  return inner(file)->pMethods->xFileSize(inner(file), size);
}
int lock_file(sqlite3_file* file, int level) {
  if (ours(file).files->fails(SimFiles::What::anything)) return SQLITE_IOERR_LOCK;
  return inner(file)->pMethods->xLock(inner(file), level);
}
int check_lock(sqlite3_file* file, int* out) {
  if (ours(file).files->fails(SimFiles::What::anything)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  return inner(file)->pMethods->xCheckReservedLock(inner(file), out);
}
// What asks for nothing that could be refused.
int unlock_file(sqlite3_file* file, int level) { return inner(file)->pMethods->xUnlock(inner(file), level); }
int control_file(sqlite3_file* file, int what, void* argument) {
  return inner(file)->pMethods->xFileControl(inner(file), what, argument);
}
int sector_size(sqlite3_file* /*file*/) { return kSectorSize; }
int characteristics(sqlite3_file* /*file*/) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
int map_memory(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  if (ours(file).files->fails(SimFiles::What::anything)) return SQLITE_IOERR_SHMMAP;
  return inner(file)->pMethods->xShmMap(inner(file), region, size, extend, out);
}
int lock_memory(sqlite3_file* file, int offset, int count, int flags) {
  const bool takes = (flags & SQLITE_SHM_LOCK) != 0;
  if (takes && ours(file).files->fails(SimFiles::What::anything)) return SQLITE_IOERR_SHMLOCK;
  return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}
void order_memory(sqlite3_file* file) { inner(file)->pMethods->xShmBarrier(inner(file)); }
int unmap_memory(sqlite3_file* file, int remove) { return inner(file)->pMethods->xShmUnmap(inner(file), remove); }

// Version 2: with shared memory, without memory-mapped reading.
constexpr sqlite3_io_methods kMethods = {
    2,           close_file,   read_file,    write_file,   truncate_file, sync_file,       file_size,
    lock_file,   unlock_file,  check_lock,   control_file, sector_size,   characteristics, map_memory,
    lock_memory, order_memory, unmap_memory, nullptr,      nullptr,
};

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const MachinesMemory enough;
  SimFile& mine = *new (file) SimFile{};
  mine.files = &files_of(vfs);
  if (name != nullptr) mine.unsynced = &mine.files->file(name);
  if (mine.files->world().ended() || mine.files->fails(SimFiles::What::anything)) return SQLITE_CANTOPEN;
  std::error_code none;
  const bool was_there = name != nullptr && fs::exists(name, none);
  const int result = ordinary()->xOpen(ordinary(), name, inner(file), flags, out_flags);
  if (inner(file)->pMethods != nullptr) mine.base.pMethods = &kMethods;
  if (result == SQLITE_OK && name != nullptr && !was_there) mine.unsynced->created();
  return result;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int sync_folder) {
  const MachinesMemory enough;
  SimFiles& files = files_of(vfs);
  const World::Fate fate = files.world().step(true);
  if (fate == World::Fate::nothing || files.fails(SimFiles::What::change)) return SQLITE_IOERR_DELETE;
  UnsyncedFile& file = files.file(name);
  file.deleted();
  const int result = ordinary()->xDelete(ordinary(), name, 0);
  if (sync_folder != 0) file.synced();
  return fate == World::Fate::happens ? result : SQLITE_IOERR_DELETE;
}

}  // namespace

SimFiles::SimFiles(World& world) : world_(world), vfs_(*ordinary()) {
  vfs_.pNext = nullptr;
  vfs_.zName = "remapfs-sim";
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(SimFile)) + ordinary()->szOsFile;
  vfs_.xOpen = open_file;
  vfs_.xDelete = delete_file;
  // The ordinary ones look into their own VFS.
  vfs_.xAccess = [](sqlite3_vfs* vfs, const char* name, int flags, int* out) {
    if (files_of(vfs).fails(What::anything)) return SQLITE_IOERR_ACCESS;
    const MachinesMemory enough;
    return ordinary()->xAccess(ordinary(), name, flags, out);
  };
  vfs_.xFullPathname = [](sqlite3_vfs* vfs, const char* name, int length, char* out) {
    if (files_of(vfs).fails(What::anything)) return SQLITE_CANTOPEN_FULLPATH;
    const MachinesMemory enough;
    return ordinary()->xFullPathname(ordinary(), name, length, out);
  };
  vfs_.xRandomness = [](sqlite3_vfs* vfs, int length, char* out) {
    Random(files_of(vfs).world().random()())
        .fill(std::as_writable_bytes(std::span(out, static_cast<std::size_t>(length))));
    return length;
  };
  sqlite3_randomness(0, nullptr);  // starts again, from this VFS
  REMAPFS_INVARIANT(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
}

SimFiles::~SimFiles() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(ordinary(), 1);
}

UnsyncedFile& SimFiles::file(const std::string& path) { return files_.try_emplace(path, path).first->second; }

void SimFiles::renamed(const std::string& from, const std::string& to) {
  auto file = files_.extract(from);
  if (file.empty()) return;
  file.mapped().renamed(to);
  file.key() = to;
  files_.insert(std::move(file));
}

void SimFiles::lose_power() {
  for (auto& [path, file] : files_) file.lose_power(world_.random());
}

}  // namespace remapfs::sim
