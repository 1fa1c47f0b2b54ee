// SPDX-License-Identifier: Apache-2.0
#include "io/posix_device.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "io/errno_class.hpp"

namespace remapfs {
namespace {

// Zeros to write where the file system cannot zero by itself.
alignas(4096) constinit const std::array<std::byte, 65536> kZeros{};

// Drops what the page cache holds of a file, so that the next read asks the medium. All of the file: a large folio goes
// only as a whole (ext4 and XFS on Linux 6.18 have them up to 2 MiB), and no call says where it begins. O_DSYNC leaves
// no dirty pages of ours, which would stay.
void empty_cache(int fd) { ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }

off_t to_off(std::uint64_t offset) { return static_cast<off_t>(offset); }

// Reads until the buffer is full. An end of file comes as 0, or as a length off the grid followed by 0 or EINVAL.
Result<void> read_fully(int fd, std::uint64_t offset, std::span<std::byte> buffer, std::uint64_t grid) {
  while (!buffer.empty()) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), to_off(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return device_failure(errno);
    const auto got = static_cast<std::size_t>(n);
    if (got == 0 || (got < buffer.size() && !is_aligned(got, grid))) return fail(Errc::device_gone);
    buffer = buffer.subspan(got);
    offset += got;
  }
  return {};
}

Result<void> write_fully(int fd, std::uint64_t offset, std::span<const std::byte> data, std::uint64_t grid) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), to_off(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return device_failure(errno);
    const auto put = static_cast<std::size_t>(n);
    if (put == 0 || (put < data.size() && !is_aligned(put, grid))) return fail(Errc::device_gone);
    data = data.subspan(put);
    offset += put;
  }
  return {};
}

}  // namespace

PosixDevice::PosixDevice(std::string path, DeviceOptions options, io_detail::OpenedFiles files)
    : path_(std::move(path)),
      options_(std::move(options)),
      geometry_(files.geometry),
      identity_(std::move(files.identity)),
      discard_grid_(files.discard_grid),
      main_(std::move(files.main)),
      tail_(std::move(files.tail)) {}

Result<void> PosixDevice::check_present() const {
  if (!present_.load(std::memory_order_relaxed)) return fail(Errc::device_gone);
  return {};
}

// A write past the end of a file that was cut behind our back would make it longer again, with zeros in between that
// nobody wrote.
Result<void> PosixDevice::check_writable() const {
  if (options_.read_only) return fail(Errc::read_only, EROFS);
  if (auto present = check_present(); !present) return present;
  if (geometry_.block_device) return {};
  struct stat status {};
  if (::fstat(main_.get(), &status) != 0) return device_failure(errno);
  if (static_cast<std::uint64_t>(status.st_size) < geometry_.size.value()) return fail(Errc::device_gone);
  return {};
}

// A disk that was taken away fails like a bad sector (EIO), and a write past a new end like a full one (ENOSPC); but
// its size says what happened: the kernel sets it to 0 when a disk goes (del_gendisk, Linux 5.15 and later).
Result<void> PosixDevice::explain(Result<void> result) const {
  if (result || !geometry_.block_device) return result;
  std::uint64_t size = 0;
  if (::ioctl(main_.get(), BLKGETSIZE64, &size) == 0 && size >= geometry_.size.value()) return result;
  result.error().code = Errc::device_gone;
  return result;
}

std::string PosixDevice::stamp() const { return geometry_.block_device ? std::string() : file_stamp(main_.get()); }

bool PosixDevice::ready_for(bool write) const {
  if (!check_present() || (write && options_.read_only)) return false;
  if (!write || geometry_.block_device) return true;
  // What check_writable() asks for, but not of a server far away: engines wait for nothing.
  struct statx status {};
  return ::statx(main_.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &status) == 0 &&
         status.stx_size >= geometry_.size.value();
}

Error PosixDevice::failure_of(int os_errno) const { return explain(device_failure(os_errno)).error(); }

Result<void> PosixDevice::read_exact(ByteOffset offset, std::span<std::byte> buffer) {
  if (auto present = check_present(); !present) return present;
  if (!tail_ || offset.value() + buffer.size() <= grid_end()) {
    return explain(read_fully(main_.get(), offset.value(), buffer, geometry_.logical_block));
  }
  const std::uint64_t direct = grid_end() - offset.value();
  auto head = read_fully(main_.get(), offset.value(), buffer.first(direct), geometry_.logical_block);
  if (!head) return head;
  empty_cache(tail_.get());
  return read_fully(tail_.get(), grid_end(), buffer.subspan(direct), kSectorSize);
}

Result<void> PosixDevice::write_all(ByteOffset offset, std::span<const std::byte> data) {
  if (auto writable = check_writable(); !writable) return writable;
  if (!tail_ || offset.value() + data.size() <= grid_end()) {
    auto written = explain(write_fully(main_.get(), offset.value(), data, geometry_.logical_block));
    // What the cache holds now may not be on the medium.
    if (!written && !geometry_.direct) drop_cache({offset, offset + data.size()});
    return written;
  }
  const std::uint64_t direct = grid_end() - offset.value();
  auto head = write_fully(main_.get(), offset.value(), data.first(direct), geometry_.logical_block);
  if (!head) return head;
  return write_tail(data.subspan(direct));
}

Result<void> PosixDevice::write_tail(std::span<const std::byte> data) {
  auto written = write_fully(tail_.get(), grid_end(), data, kSectorSize);
  if (!written) {
    empty_cache(tail_.get());
    // The kernel reports a failed write-back once to every open file (errseq_t, Linux 4.13). The caller has this one
    // from the tail descriptor; without this its next sync() would fail for it again, through the main one.
    // Only the tail is ever written through the cache, so no other error can be swallowed here.
    ::sync_file_range(main_.get(), 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE);
  }
  return written;
}

Result<void> PosixDevice::sync() {
  if (auto present = check_present(); !present) return present;
  if (options_.read_only) return {};
  while (::fdatasync(main_.get()) != 0) {
    if (errno != EINTR) return explain(device_failure(errno));
  }
  return {};
}

Result<void> PosixDevice::write_zeros(ByteRange range) {
  for (ByteOffset at = range.begin; at < range.end;) {
    const std::uint64_t n = std::min<std::uint64_t>(distance(at, range.end).value(), kZeros.size());
    if (auto written = write_all(at, std::span(kZeros).first(n)); !written) return written;
    at = at + n;
  }
  return {};
}

// The inner part on the discard grid by fallocate(mode), the edges by writing zeros.
Result<void> PosixDevice::deallocate(ByteRange range, int mode) {
  const ByteRange inner{ByteOffset(round_up(range.begin.value(), discard_grid_)),
                        ByteOffset(round_down(range.end.value(), discard_grid_))};
  if (inner.empty()) return write_zeros(range);
  while (::fallocate(main_.get(), mode | FALLOC_FL_KEEP_SIZE, to_off(inner.begin.value()),
                     to_off(inner.size().value())) != 0) {
    if (errno == ENOSYS) return fail(Errc::unsupported, EOPNOTSUPP);
    if (errno != EINTR) return device_failure(errno);
  }
  if (auto before = write_zeros({range.begin, inner.begin}); !before) return before;
  return write_zeros({inner.end, range.end});
}

Result<void> PosixDevice::zero_range(ByteRange range) {
  if (auto writable = check_writable(); !writable) return writable;
  if (range.empty()) return {};
  if (geometry_.block_device) {
    std::array<std::uint64_t, 2> where{range.begin.value(), range.size().value()};
    while (::ioctl(main_.get(), BLKZEROOUT, where.data()) != 0) {
      if (errno != EINTR) return explain(device_failure(errno));
    }
    return {};
  }
  if (zeroes_cheaply_.load(std::memory_order_relaxed)) {
    auto done = deallocate(range, FALLOC_FL_ZERO_RANGE);
    if (done || done.error().code != Errc::unsupported) return done;
    zeroes_cheaply_.store(false, std::memory_order_relaxed);
  }
  return write_zeros(range);
}

Result<void> PosixDevice::punch_hole(ByteRange range) {
  if (!geometry_.punches_cheaply) return fail(Errc::unsupported, EOPNOTSUPP);
  if (auto writable = check_writable(); !writable) return writable;
  if (range.empty()) return {};
  if (!geometry_.block_device) return deallocate(range, FALLOC_FL_PUNCH_HOLE);
  // On a block device this unmaps and never falls back to writing zeros, unlike BLKZEROOUT.
  while (::fallocate(main_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, to_off(range.begin.value()),
                     to_off(range.size().value())) != 0) {
    if (errno != EINTR) return explain(device_failure(errno));
  }
  return {};
}

Result<ByteOffset> PosixDevice::seek(ByteOffset from, int whence) {
  const off_t found = ::lseek(main_.get(), to_off(from.value()), whence);
  const int error = errno;
  // Of a file that was cut, the end would look like a hole.
  struct stat status {};
  if (::fstat(main_.get(), &status) != 0) return device_failure(errno);
  if (static_cast<std::uint64_t>(status.st_size) < geometry_.size.value()) return fail(Errc::device_gone);
  if (found < 0 && error == ENXIO) return fail(Errc::not_found, ENXIO);
  if (found < 0 && (error == EINVAL || error == EOPNOTSUPP || error == ENOSYS)) {
    return whence == SEEK_DATA ? from : ByteOffset(geometry_.size.value());
  }
  if (found < 0) return device_failure(error);
  return ByteOffset(static_cast<std::uint64_t>(found));
}

Result<ByteOffset> PosixDevice::seek_data(ByteOffset from) {
  if (auto present = check_present(); !present) return fail(present.error());
  if (from.value() >= geometry_.size.value()) return fail(Errc::not_found, ENXIO);
  if (geometry_.block_device) return from;
  auto found = seek(from, SEEK_DATA);
  // Less than a sector at the end of a file is not part of the device.
  if (found && found->value() >= geometry_.size.value()) return fail(Errc::not_found, ENXIO);
  return found;
}

Result<ByteOffset> PosixDevice::seek_hole(ByteOffset from) {
  if (auto present = check_present(); !present) return fail(present.error());
  const ByteOffset end(geometry_.size.value());
  if (from >= end || geometry_.block_device) return end;
  auto found = seek(from, SEEK_HOLE);
  if (found) return std::min(*found, end);
  return found;
}

void PosixDevice::drop_cache(ByteRange range) {
  // Direct transfers have no cache, and the tail is dropped at every read.
  if (geometry_.direct || range.empty()) return;
  empty_cache(main_.get());
}

Result<void> PosixDevice::reopen() {
  const MutexLock lock(reopening_);
  // The old files go first: their locks would keep out the new ones. What stands in their place meanwhile answers every
  // transfer of an engine with EBADF.
  const UniqueFd nothing(::open("/", O_PATH | O_CLOEXEC));
  if (!nothing) return device_failure(errno);
  present_.store(false);
  const auto put_behind = [](const UniqueFd& number, const UniqueFd& file) {
    return !number || ::dup3(file.get(), number.get(), O_CLOEXEC) >= 0;
  };
  if (!put_behind(main_, nothing) || !put_behind(tail_, nothing)) return device_failure(errno);

  auto files = io_detail::open_files(path_, options_);
  if (!files) {
    if (files.error().code == Errc::not_found) files.error().code = Errc::device_gone;
    return fail(std::move(files.error()));
  }
  if (auto same = check_same_device(identity_, files->identity, path_); !same) return same;
  // Callers hold buffers and plans made for the old geometry.
  const DeviceGeometry& now = files->geometry;
  if (now.logical_block > geometry_.logical_block || now.memory_alignment > geometry_.memory_alignment ||
      now.direct != geometry_.direct || now.block_device != geometry_.block_device ||
      static_cast<bool>(files->tail) != static_cast<bool>(tail_)) {
    return fail(Errc::foreign, "device came back with another geometry, " + path_ + ", unmount and mount again");
  }
  if (!put_behind(main_, files->main) || (tail_ && !put_behind(tail_, files->tail))) return device_failure(errno);
  zeroes_cheaply_.store(true, std::memory_order_relaxed);
  present_.store(true);
  return {};
}

}  // namespace remapfs
