// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/load_thread.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "e2e/kill/scratch.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kLongestRange = 512;  // sectors
constexpr std::uint64_t kVerifiedAtOnce = 32;

AlignedBuffer make_buffer() {
  auto buffer = AlignedBuffer::allocate(kLongestRange * kSectorSize);
  if (!buffer) throw std::bad_alloc();
  return std::move(*buffer);
}

std::span<std::byte, kSectorSize> sector_in(AlignedBuffer& buffer, std::uint64_t index) {
  return buffer.span().subspan(index * kSectorSize).first<kSectorSize>();
}

off_t offset_of(std::uint64_t sector) { return static_cast<off_t>(sector * kSectorSize); }

// Reads a range and judges it; sector by sector when it fails as a whole. 0, or the errno of a dead disk.
int read_and_judge(int fd, SectorRange range, AlignedBuffer& buffer, RegionHistory& history, Account& account) {
  const ssize_t got = ::pread(fd, buffer.data(), range.size() * kSectorSize, offset_of(range.begin));
  if (got == static_cast<ssize_t>(range.size() * kSectorSize)) {
    for (std::uint64_t i = 0; i < range.size(); ++i) {
      if (auto wrong = history.judge(range.begin + i, sector_in(buffer, i))) account.complain(std::move(*wrong));
    }
    return 0;
  }
  if (got >= 0) {
    account.complain(fmt::format("short read of {} bytes at sector {}", got, range.begin));
    return 0;
  }
  const int error = errno;
  if (error != EIO) return error;
  if (!history.may_fail(range)) {
    account.complain(
        fmt::format("reading sectors {} to {} failed, where no read fault was planted", range.begin, range.end - 1));
  }
  ++account.read_errors;
  if (range.size() == 1) return 0;
  for (std::uint64_t sector = range.begin; sector < range.end; ++sector) {
    if (const int dead = read_and_judge(fd, {sector, sector + 1}, buffer, history, account); dead != 0) return dead;
  }
  return 0;
}

}  // namespace

Account& Account::operator+=(const Account& other) {
  for (const std::string& text : other.complaints) complain(text);
  writes += other.writes;
  flushes += other.flushes;
  interrupted += other.interrupted;
  read_errors += other.read_errors;
  return *this;
}

void verify_region(const std::string& disk, RegionHistory& history, Account& account) {
  try {
    const OpenFile file(disk, O_RDONLY | O_DIRECT);
    AlignedBuffer buffer = make_buffer();
    const SectorRange all = history.sectors();
    for (std::uint64_t begin = all.begin; begin < all.end; begin += kVerifiedAtOnce) {
      const SectorRange range{begin, std::min(begin + kVerifiedAtOnce, all.end)};
      const int error = read_and_judge(file.fd(), range, buffer, history, account);
      if (error == 0) continue;
      return account.complain(fmt::format("reading sector {}: {}", begin, std::strerror(error)));
    }
  } catch (const std::system_error& error) {
    account.complain(error.what());
  }
}

LoadThread::LoadThread(const std::string& disk, RegionHistory& history, Random random, const std::atomic<bool>& dying)
    : history_(history), random_(random), dying_(dying), buffer_(make_buffer()), thread_([this, disk] {
        work(disk);
      }) {}

Account LoadThread::join() {
  thread_.join();
  return account_;
}

void LoadThread::work(const std::string& disk) {
  try {
    const OpenFile direct(disk, O_RDWR | O_DIRECT);
    const OpenFile buffered(disk, O_RDWR);
    for (bool alive = true; alive;) {
      const int fd = random_.one_in(2) ? direct.fd() : buffered.fd();
      const std::uint64_t choice = random_.below(100);
      alive = choice < 70 ? change(fd) : choice < 90 ? read(fd) : flush(fd);
    }
  } catch (const std::system_error& error) {
    // Opened too late: the disk was dead already.
    if (!dying_) account_.complain(error.what());
  }
}

SectorRange LoadThread::some_range() {
  const std::uint64_t kind = random_.below(10);
  const std::uint64_t most = kind < 4 ? 1 : kind < 8 ? 16 : kLongestRange;
  const std::uint64_t length = random_.between(1, most + 1);
  const SectorRange all = history_.sectors();
  const std::uint64_t end = random_.one_in(2) ? all.begin + kHotSectors : all.end - length + 1;
  const std::uint64_t begin = random_.between(all.begin, end);
  return {begin, begin + length};
}

bool LoadThread::survived(int error, const std::string& what) {
  const bool cut_off = error == ENOTCONN || error == ECONNABORTED;
  if (!cut_off || !dying_) account_.complain(fmt::format("{}: {}", what, std::strerror(error)));
  return !cut_off;
}

bool LoadThread::change(int fd) {
  const SectorRange range = some_range();
  const std::size_t length = range.size() * kSectorSize;
  ssize_t done = 0;
  if (random_.one_in(12)) {
    history_.begin_zero(range);
    const bool zeroed = ::fallocate(fd, FALLOC_FL_ZERO_RANGE, offset_of(range.begin), static_cast<off_t>(length)) == 0;
    done = zeroed ? static_cast<ssize_t>(length) : -1;
  } else {
    const std::uint64_t generation = history_.begin_write(range);
    for (std::uint64_t i = 0; i < range.size(); ++i) {
      write_contents(history_.name(range.begin + i, generation), sector_in(buffer_, i));
    }
    done = ::pwrite(fd, buffer_.data(), length, offset_of(range.begin));
  }
  if (done < 0) {
    const int error = errno;
    if (error == ENOTCONN || error == ECONNABORTED) ++account_.interrupted;
    return survived(error, fmt::format("writing sectors {} to {}", range.begin, range.end - 1));
  }
  const std::uint64_t sectors = static_cast<std::uint64_t>(done) / kSectorSize;
  history_.acknowledge({range.begin, range.begin + sectors});
  ++account_.writes;
  // A long write travels in parts, of which death may cut off the later ones.
  if (sectors != range.size() && !dying_) {
    account_.complain(fmt::format("short write of {} of {} bytes at sector {}", done, length, range.begin));
  }
  return true;
}

bool LoadThread::flush(int fd) {
  const int done = random_.one_in(2) ? ::fsync(fd) : ::fdatasync(fd);
  if (done != 0) return survived(errno, "flushing");
  history_.note_flush();
  ++account_.flushes;
  return true;
}

bool LoadThread::read(int fd) {
  const SectorRange range = some_range();
  const int error = read_and_judge(fd, range, buffer_, history_, account_);
  return error == 0 || survived(error, fmt::format("reading sectors {} to {}", range.begin, range.end - 1));
}

}  // namespace remapfs::testing
