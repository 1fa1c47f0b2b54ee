// SPDX-License-Identifier: Apache-2.0
#include "store/log_renewal.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "store/sql.hpp"

namespace remapfs::store {
namespace {

// The largest page: more SQLite itself never writes at once, and its VFS takes less than 128 KiB (SQLite 3.40).
constexpr sqlite3_int64 kPiece = 65536;

// A log, open through the VFS that SQLite uses for it.
class LogFile {
 public:
  explicit LogFile(const std::string& path)
      : vfs_(sqlite3_vfs_find(nullptr)),
        // A name for a VFS ends with two zeros, and lives as long as the file is open.
        name_(path + "-wal" + std::string(2, '\0')),
        memory_(std::make_unique<std::max_align_t[]>(
            static_cast<std::size_t>(vfs_->szOsFile) / sizeof(std::max_align_t) + 1)) {}
  ~LogFile() {
    if (file()->pMethods != nullptr) file()->pMethods->xClose(file());
  }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  int open() { return vfs_->xOpen(vfs_, name_.c_str(), file(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, nullptr); }

  int write_again() {
    sqlite3_int64 size = 0;
    if (const int result = file()->pMethods->xFileSize(file(), &size); result != SQLITE_OK) return result;
    std::vector<std::byte> piece(static_cast<std::size_t>(std::min(size, kPiece)));
    for (sqlite3_int64 at = 0; at < size;) {
      const int length = static_cast<int>(std::min<sqlite3_int64>(size - at, kPiece));
      if (const int result = file()->pMethods->xRead(file(), piece.data(), length, at); result != SQLITE_OK)
        return result;
      if (const int result = file()->pMethods->xWrite(file(), piece.data(), length, at); result != SQLITE_OK)
        return result;
      at += length;
    }
    return file()->pMethods->xSync(file(), SQLITE_SYNC_NORMAL);
  }

 private:
  [[nodiscard]] sqlite3_file* file() const { return reinterpret_cast<sqlite3_file*>(memory_.get()); }

  sqlite3_vfs* const vfs_;
  const std::string name_;
  const std::unique_ptr<std::max_align_t[]> memory_;
};

}  // namespace

Result<void> renew_log(const std::string& path) {
  if (!has_log(path)) return {};
  return sql_guard(path, [&]() -> Result<void> {
    LogFile log(path);
    int result = log.open();
    if (result == SQLITE_OK) result = log.write_again();
    if (result == SQLITE_OK) return {};
    return fail(Errc::store, fmt::format("{}-wal, cannot be written again ({}), check its file system", path,
                                         sqlite3_errstr(result)));
  });
}

}  // namespace remapfs::store
