// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "remapfs/error.hpp"

namespace remapfs::store {

// Ownership of a map file by one user at a time: a descriptor with flock(LOCK_EX), opened before SQLite opens the
// file and closed after it has closed it. (Closing any descriptor of a file drops this process's fcntl locks on it,
// on which SQLite relies; that is why nothing else ever opens the map, and why a second try within one process is
// refused without opening it.)
//
// Threads: any.
class MapLock {
 public:
  // path: of an existing file; symbolic links are followed. read_only: the file is not opened for writing. wait: how
  // long, when another process has it.
  // Errors: not_found, permission, busy, invalid (not a regular file), store.
  static Result<MapLock> acquire(const std::string& path, bool read_only, std::chrono::milliseconds wait = {});

  MapLock(MapLock&& other) noexcept;
  MapLock& operator=(MapLock&& other) noexcept;
  ~MapLock();

  // False when the file that is owned is no longer the one at path(): it was deleted, renamed or replaced.
  [[nodiscard]] bool in_place() const;

  // Ends ownership now; path() stays. Nothing happens the second time.
  void release();

  // The path SQLite is to use: absolute, without symbolic links, so that the log lies next to the real file.
  [[nodiscard]] const std::string& path() const { return path_; }

  // The lock's own descriptor, to be asked about the file, not to be closed.
  [[nodiscard]] int descriptor() const { return fd_; }

  // Looks at the first bytes of the file through the lock's own descriptor, before SQLite does anything with it.
  // Errors: foreign (no SQLite database, or of another application), store.
  [[nodiscard]] Result<void> check_header() const;

 private:
  MapLock(int fd, unsigned long long device, unsigned long long inode, std::string path)
      : fd_(fd), device_(device), inode_(inode), path_(std::move(path)) {}

  int fd_ = -1;
  unsigned long long device_ = 0;
  unsigned long long inode_ = 0;
  std::string path_;
};

}  // namespace remapfs::store
