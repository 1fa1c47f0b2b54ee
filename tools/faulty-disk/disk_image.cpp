// SPDX-License-Identifier: Apache-2.0
#include "disk_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace faulty {
namespace {

using remapfs::Errc;
using remapfs::fail;

Result<ByteCount> size_of(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    return fail(Errc::device_other, fmt::format("cannot stat image, {}: {}", path, std::strerror(errno)), errno);
  }
  std::uint64_t bytes = 0;
  if (S_ISREG(status.st_mode)) {
    bytes = static_cast<std::uint64_t>(status.st_size);
  } else if (!S_ISBLK(status.st_mode)) {
    return fail(Errc::invalid, fmt::format("not a file or block device, {}, give a disk image", path));
  } else if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
    return fail(Errc::device_other, fmt::format("cannot get size, {}: {}", path, std::strerror(errno)), errno);
  }
  if (bytes == 0) return fail(Errc::invalid, fmt::format("image is empty, {}, make it with truncate -s SIZE", path));
  return ByteCount(bytes);
}

off_t as_off(ByteOffset at) { return static_cast<off_t>(at.value()); }

}  // namespace

Result<std::unique_ptr<DiskImage>> DiskImage::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    const Errc code = error == ENOENT ? Errc::not_found : Errc::permission;
    return fail(code, fmt::format("cannot open image, {}: {}", path, std::strerror(error)), error);
  }
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return fail(Errc::busy, fmt::format("image is in use, {}, unmount the other user first", path));
  }
  const Result<ByteCount> size = size_of(fd, path);
  if (!size) {
    ::close(fd);
    return fail(size.error());
  }
  return std::unique_ptr<DiskImage>(new DiskImage(fd, path, *size));
}

DiskImage::~DiskImage() { ::close(fd_); }

int DiskImage::read(ByteOffset from, std::span<std::byte> data) const {
  while (!data.empty()) {
    const ssize_t got = ::pread(fd_, data.data(), data.size(), as_off(from));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return EIO;
    from += static_cast<std::uint64_t>(got);
    data = data.subspan(static_cast<std::size_t>(got));
  }
  return 0;
}

int DiskImage::write(ByteOffset to, std::span<const std::byte> data) const {
  while (!data.empty()) {
    const ssize_t put = ::pwrite(fd_, data.data(), data.size(), as_off(to));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    if (put == 0) return EIO;
    to += static_cast<std::uint64_t>(put);
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

int DiskImage::zero(ByteRange range, bool punch) const {
  if (range.empty()) return 0;
  const int mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  int done = 0;
  do {
    done = ::fallocate(fd_, mode, as_off(range.begin), static_cast<off_t>(range.size().value()));
  } while (done != 0 && errno == EINTR);
  if (done == 0) return 0;
  // tmpfs has no ZERO_RANGE, a block device none off its grid.
  if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS) return errno;
  static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  while (!range.empty()) {
    const std::size_t part = std::min<std::uint64_t>(kZeros.size(), range.size().value());
    if (const int error = write(range.begin, std::span(kZeros).first(part)); error != 0) return error;
    range.begin += part;
  }
  return 0;
}

int DiskImage::sync() const { return ::fdatasync(fd_) == 0 ? 0 : errno; }

int DiskImage::seek(ByteOffset from, int whence, ByteOffset& found) const {
  const off_t at = ::lseek(fd_, as_off(from), whence);
  if (at >= 0) {
    found = std::min(ByteOffset(static_cast<std::uint64_t>(at)), ByteOffset(size_.value()));
    return 0;
  }
  if (errno != EINVAL) return errno;
  if (from.value() >= size_.value()) return ENXIO;
  found = whence == SEEK_DATA ? from : ByteOffset(size_.value());
  return 0;
}

}  // namespace faulty
