// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <thread>
#include <tuple>
#include <utility>

#include "io/busy_users.hpp"
#include "io/errno_class.hpp"
#include "io/posix_device.hpp"

namespace remapfs {
namespace io_detail {
namespace {

constexpr std::uint32_t kLargestSectorKnown = 4096;  // assumed where nothing says what O_DIRECT needs

tl::unexpected<Error> failed(const std::string& what, const std::string& path, int error, const std::string& advice) {
  return fail(classify_open_errno(error), what + ", " + path + ": " + std::strerror(error) + ", " + advice, error);
}

// A descriptor that is open and locked, or the errno that says why not: EBUSY and EWOULDBLOCK may pass by themselves.
struct Attempt {
  UniqueFd fd;
  int error = 0;
};

Attempt try_open(const std::string& path, bool block_device, bool direct, const DeviceOptions& options) {
  int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
  flags |= direct ? O_DIRECT : O_DSYNC;
  // Without O_CREAT, O_EXCL means "nobody else claims it" on block devices and nothing on files.
  if (options.exclusive && block_device) flags |= O_EXCL;
  UniqueFd fd(::open(path.c_str(), flags));
  if (!fd) return {UniqueFd(), errno};
  if (options.exclusive && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return {UniqueFd(), errno};
  return {std::move(fd), 0};
}

Attempt open_in_time(const std::string& path, bool block_device, bool direct, const DeviceOptions& options) {
  const auto deadline = std::chrono::steady_clock::now() + options.lock_wait;
  for (;;) {
    Attempt attempt = try_open(path, block_device, direct, options);
    const bool may_pass = attempt.error == EBUSY || attempt.error == EWOULDBLOCK || attempt.error == EINTR;
    if (!may_pass || std::chrono::steady_clock::now() >= deadline) return attempt;
    // flock() knows no timeout, and O_EXCL no waiting at all.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

struct Alignment {
  std::uint32_t transfer = 0;  // 0: O_DIRECT does not work here
  std::uint32_t memory = 0;
};

std::uint32_t usable_alignment(std::uint64_t bytes) {
  return static_cast<std::uint32_t>(std::bit_ceil(std::max<std::uint64_t>(bytes, kSectorSize)));
}

// What O_DIRECT on this descriptor needs.
Alignment direct_alignment(int fd, const struct stat& status, const KernelViews& views) {
  struct statx detail {};
  const bool told = ::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &detail) == 0 && (detail.stx_mask & STATX_DIOALIGN);
  // Linux 6.1 and later; a zero means that O_DIRECT can be asked for but falls back to the cache.
  if (told && detail.stx_dio_offset_align == 0) return {};
  if (told) return {usable_alignment(detail.stx_dio_offset_align), usable_alignment(detail.stx_dio_mem_align)};

  if (S_ISBLK(status.st_mode)) {
    int logical = 0;
    if (::ioctl(fd, BLKSSZGET, &logical) == 0 && logical > 0) {
      const std::uint32_t block = usable_alignment(static_cast<std::uint64_t>(logical));
      return {block, block};
    }
  }
  struct statfs system {};
  // Both take O_DIRECT transfers of any size; FUSE hands them on as they are (fuse_direct_io, Linux 6.18), and a sector
  // that is bad should not take its neighbours with it.
  const bool any_size =
      ::fstatfs(fd, &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == FUSE_SUPER_MAGIC);
  if (any_size) return {kSectorSize, kSectorSize};
  // A file on a disk that sysfs knows needs what the disk needs. btrfs and others have no such disk and take transfers
  // off their grid through the cache without a word, so the largest sector there is.
  if (const auto device = SysfsBlockDevice::find(status.st_dev, views)) {
    if (const auto logical = device->disk_number("queue/logical_block_size")) {
      return {usable_alignment(*logical), usable_alignment(*logical)};
    }
  }
  return {kLargestSectorKnown, kLargestSectorKnown};
}

// Whether punching works, found out without touching a byte of the device.
bool can_punch(int fd, const struct stat& status, const DeviceOptions& options) {
  if (options.read_only) return false;
  if (S_ISBLK(status.st_mode)) {
    const auto device = SysfsBlockDevice::find(status.st_rdev, options.views);
    return device && device->disk_number("queue/write_zeroes_max_bytes").value_or(0) > 0;
  }
  // Nothing is there to punch beyond the end, with room left for space that was preallocated there, and KEEP_SIZE never
  // makes the file longer; but a file system that cannot punch says so.
  constexpr std::uint64_t kFarBeyond = std::uint64_t{1} << 30U;
  const std::uint64_t where = round_up(static_cast<std::uint64_t>(status.st_size), 1U << 20U) + kFarBeyond;
  if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(where), 4096) != 0) return false;
  // It counts as a write, and is none.
  const timespec as_it_was[] = {{0, UTIME_OMIT}, status.st_mtim};
  std::ignore = ::futimens(fd, as_it_was);
  return true;
}

std::uint32_t physical_block_of(int fd, const struct stat& status, const DeviceOptions& options) {
  unsigned physical = 0;
  if (S_ISBLK(status.st_mode) && ::ioctl(fd, BLKPBSZGET, &physical) == 0) return usable_alignment(physical);
  if (const auto device = SysfsBlockDevice::find(status.st_dev, options.views)) {
    return usable_alignment(device->disk_number("queue/physical_block_size").value_or(0));
  }
  return kSectorSize;
}

std::uint64_t discard_grid_of(int fd) {
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0 || system.f_bsize <= 0) return 4096;
  return std::bit_ceil(std::max<std::uint64_t>(4096, static_cast<std::uint64_t>(system.f_bsize)));
}

tl::unexpected<Error> is_held(const std::string& path, const DeviceOptions& options) {
  const std::string users = describe(holders_of(path, options.views));
  return fail(Errc::busy,
              "in use, " + path + (users.empty() ? ", by another program" : ", by " + users) +
                  ", stop that or unmount it first",
              EBUSY);
}

// Why an attempt failed, for a person.
tl::unexpected<Error> open_failure(const std::string& path, int error, const DeviceOptions& options) {
  if (error == EBUSY || error == EWOULDBLOCK) return is_held(path, options);
  return failed("cannot open", path, error,
                error == EROFS ? "mount it with -o ro" : "check the path and the permissions");
}

// The descriptor that does the transfers.
struct MainFile {
  UniqueFd fd;
  struct stat status {};
  Alignment direct;  // transfer == 0: buffered
};

Result<MainFile> open_main(const std::string& path, const DeviceOptions& options) {
  // Asked before opening: opening a FIFO or a tape would do something.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return failed("cannot open", path, errno, "check the path");
  const bool block_device = S_ISBLK(status.st_mode);
  if (!block_device && !S_ISREG(status.st_mode)) {
    return fail(Errc::invalid, "neither a file nor a block device, " + path + ", give the path of one", EINVAL);
  }
  MainFile file;
  if (options.try_direct) {
    Attempt attempt = open_in_time(path, block_device, true, options);
    // EINVAL: the file system has no O_DIRECT.
    if (attempt.error != 0 && attempt.error != EINVAL) return open_failure(path, attempt.error, options);
    if (attempt.fd) file.direct = direct_alignment(attempt.fd.get(), status, options.views);
    if (file.direct.transfer != 0) file.fd = std::move(attempt.fd);
    // Else it is closed before the next attempt, which its locks would keep out.
  }
  if (!file.fd) {
    Attempt attempt = open_in_time(path, block_device, false, options);
    if (attempt.error != 0) return open_failure(path, attempt.error, options);
    file.fd = std::move(attempt.fd);
  }
  // From here on only what the descriptor says counts: the path may lead elsewhere by now.
  if (::fstat(file.fd.get(), &file.status) != 0) return failed("cannot examine", path, errno, "check the device");
  if (file.status.st_dev != status.st_dev || file.status.st_ino != status.st_ino) {
    return fail(Errc::invalid, "replaced while being opened, " + path + ", try again");
  }
  // Linux opens a write-protected block device for writing, and fails the writes.
  int write_protected = 0;
  if (!options.read_only && S_ISBLK(file.status.st_mode) && ::ioctl(file.fd.get(), BLKROGET, &write_protected) == 0 &&
      write_protected != 0) {
    return fail(Errc::permission, "write-protected, " + path + ", make it writable or use it read-only", EROFS);
  }
  return file;
}

DeviceGeometry measure(const MainFile& file, ByteCount size, const DeviceOptions& options) {
  DeviceGeometry geometry;
  geometry.size = size;
  geometry.block_device = S_ISBLK(file.status.st_mode);
  // A disk of a size off its own grid (a loop device over an odd file) cannot transfer its last bytes at all.
  int disk_block = 0;
  if (geometry.block_device && ::ioctl(file.fd.get(), BLKSSZGET, &disk_block) == 0 && disk_block > 0) {
    geometry.size = ByteCount(round_down(size.value(), usable_alignment(static_cast<std::uint64_t>(disk_block))));
  }
  geometry.direct = file.direct.transfer != 0;
  geometry.logical_block = geometry.direct ? file.direct.transfer : static_cast<std::uint32_t>(kSectorSize);
  geometry.memory_alignment = geometry.direct ? file.direct.memory : 1;
  geometry.physical_block = std::max(physical_block_of(file.fd.get(), file.status, options), geometry.logical_block);
  struct statfs file_system {};
  geometry.in_memory = !geometry.block_device && ::fstatfs(file.fd.get(), &file_system) == 0 &&
                       (file_system.f_type == TMPFS_MAGIC || file_system.f_type == RAMFS_MAGIC);
  geometry.punches_cheaply = can_punch(file.fd.get(), file.status, options);
  return geometry;
}

// The descriptor for the last bytes of a file, less than a logical block.
Result<UniqueFd> open_tail(const MainFile& file, const std::string& path, DeviceOptions options) {
  options.exclusive = false;  // the main descriptor holds the lock, which would keep this one out
  Attempt attempt = try_open("/proc/self/fd/" + std::to_string(file.fd.get()), false, false, options);
  if (attempt.error != 0) return failed("cannot open the end", path, attempt.error, "check the permissions");
  return std::move(attempt.fd);
}

// No reading ahead or around: an error has to be of the sector that was asked for.
void read_only_what_is_asked(const UniqueFd& fd) { ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM); }

}  // namespace

Result<OpenedFiles> open_files(const std::string& path, const DeviceOptions& options) {
  auto main = open_main(path, options);
  if (!main) return fail(std::move(main.error()));
  auto identity = identify_device(main->fd.get(), options.views);
  if (!identity) {
    return fail(identity.error().code, "cannot examine, " + path + ": " + describe(identity.error()) + ", check it",
                identity.error().os_errno);
  }
  OpenedFiles files;
  files.geometry = measure(*main, identity->size, options);
  if (files.geometry.size.value() < kSectorSize) {
    return fail(Errc::invalid, "smaller than a sector of 512 bytes, " + path + ", give a larger one");
  }
  if (!is_aligned(files.geometry.size.value(), files.geometry.logical_block)) {
    auto tail = open_tail(*main, path, options);
    if (!tail) return fail(std::move(tail.error()));
    files.tail = *std::move(tail);
    read_only_what_is_asked(files.tail);
  }
  if (!files.geometry.direct) read_only_what_is_asked(main->fd);
  files.identity = *std::move(identity);
  files.discard_grid = discard_grid_of(main->fd.get());
  files.main = std::move(main->fd);
  return files;
}

}  // namespace io_detail

Result<std::unique_ptr<BlockDevice>> open_device(const std::string& path, const DeviceOptions& options) {
  auto files = io_detail::open_files(path, options);
  if (!files) return fail(std::move(files.error()));
  return std::make_unique<PosixDevice>(path, options, *std::move(files));
}

std::string warning_for(const BlockDevice& device) {
  if (device.geometry().direct) return {};
  return "not opened directly (O_DIRECT), " + device.name() +
         ", so bad sectors may be found late: put it on a file system that has O_DIRECT";
}

}  // namespace remapfs
