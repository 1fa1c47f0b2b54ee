// SPDX-License-Identifier: Apache-2.0
#include "store/map_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "remapfs/thread_annotations.hpp"
#include "store/schema.hpp"

namespace remapfs::store {
namespace {

// The maps this process owns, by device and inode.
struct OwnedMaps {
  Mutex mutex;
  std::set<std::pair<unsigned long long, unsigned long long>> files GUARDED_BY(mutex);
};
OwnedMaps& owned_maps() {
  static OwnedMaps maps;
  return maps;
}

void disown(unsigned long long device, unsigned long long inode) {
  OwnedMaps& maps = owned_maps();
  const MutexLock lock(maps.mutex);
  maps.files.erase({device, inode});
}

Error from_errno(const std::string& path, int error) {
  const auto message = [&](const char* advice) {
    return fmt::format("{}, {}, {}", path, std::strerror(error), advice);
  };
  switch (error) {
    case ENOENT:
    case ENOTDIR: return {Errc::not_found, error, message("give the map file")};
    case EACCES:
    case EPERM:
    case EROFS: return {Errc::permission, error, message("check who may use the map")};
    default: return {Errc::store, error, message("check the file system of the map")};
  }
}

Error in_use(const std::string& path) {
  return {Errc::busy, 0,
          fmt::format("{}, the map is in use (mounted, or another command works on it), unmount it", path)};
}

}  // namespace

Result<MapLock> MapLock::acquire(const std::string& path, bool read_only, std::chrono::milliseconds wait) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  struct stat status {};
  if (!resolved || ::stat(resolved.get(), &status) != 0) return fail(from_errno(path, errno));
  if (!S_ISREG(status.st_mode)) return fail(Errc::invalid, fmt::format("{}, not a file, give the map file", path));

  // What takes memory comes before anything is owned.
  MapLock lock(-1, status.st_dev, status.st_ino, resolved.get());
  OwnedMaps& maps = owned_maps();
  {
    const MutexLock alone(maps.mutex);
    if (!maps.files.insert({status.st_dev, status.st_ino}).second) return fail(in_use(path));
  }
  lock.fd_ = ::open(resolved.get(), (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
  if (lock.fd_ < 0) {
    const int error = errno;
    disown(status.st_dev, status.st_ino);
    return fail(from_errno(path, error));
  }
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(from_errno(path, errno));
    if (std::chrono::steady_clock::now() >= deadline) return fail(in_use(path));
    // flock() knows no timeout.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  // Between stat and open, or while it waited, another file may have taken the name.
  struct stat opened {};
  if (::fstat(lock.fd_, &opened) != 0) return fail(from_errno(path, errno));
  const bool same = opened.st_dev == status.st_dev && opened.st_ino == status.st_ino;
  if (!same || !lock.in_place()) return fail(in_use(path));
  return lock;
}

MapLock::MapLock(MapLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), device_(other.device_), inode_(other.inode_), path_(std::move(other.path_)) {}

MapLock& MapLock::operator=(MapLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(path_, other.path_);
  return *this;
}

MapLock::~MapLock() { release(); }

void MapLock::release() {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  disown(device_, inode_);
}

bool MapLock::in_place() const {
  struct stat status {};
  return ::stat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

Result<void> MapLock::check_header() const {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  constexpr std::size_t kApplicationIdAt = 68;  // big-endian; never changes after creation, so never only in the log
  std::array<unsigned char, 100> header{};
  const ssize_t got = ::pread(fd_, header.data(), header.size(), 0);
  if (got < 0) return fail(from_errno(path_, errno));
  std::uint32_t application = 0;
  for (std::size_t i = 0; i < 4; ++i) application = (application << 8U) | header[kApplicationIdAt + i];
  if (static_cast<std::size_t>(got) != header.size() || std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return fail(Errc::foreign, fmt::format("{}, not a remapfs map, give the map file", path_));
  }
  if (application != kApplicationId) {
    return fail(Errc::foreign, fmt::format("{}, a database of another program, give the map file", path_));
  }
  return {};
}

}  // namespace remapfs::store
