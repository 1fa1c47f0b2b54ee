// SPDX-License-Identifier: Apache-2.0
// Every kind of fault, seen through the mounted file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <future>
#include <thread>

#include "mounted_disk.hpp"

namespace faulty_test {
namespace {

std::vector<std::byte> content(const std::string& path, std::uint64_t at, std::size_t length) {
  const File file(path, O_RDONLY);
  std::vector<std::byte> data(length);
  EXPECT_EQ(file.read(at, data), 0) << at;
  return data;
}

TEST(FaultyDisk, ShowsTheImageAtEveryOffset) {
  const MountedDisk disk;
  struct stat status {};
  ASSERT_EQ(::stat(disk.file().c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), MountedDisk::kSize);
  for (const std::uint64_t at : {0UL, 1UL, 511UL, 4095UL, 1048575UL, 3UL << 20U, MountedDisk::kSize - 70000}) {
    for (const std::size_t length : {1UL, 512UL, 4097UL, 65537UL}) {
      EXPECT_EQ(content(disk.file(), at, length), original(at, length)) << at << " " << length;
    }
  }
  const File file(disk.file(), O_RDONLY);
  std::vector<std::byte> data(1024);
  EXPECT_EQ(::pread(file.fd(), data.data(), data.size(), static_cast<off_t>(MountedDisk::kSize - 100)), 100);
  EXPECT_EQ(::pread(file.fd(), data.data(), data.size(), static_cast<off_t>(MountedDisk::kSize)), 0);
}

TEST(FaultyDisk, WritesReachTheImage) {
  const MountedDisk disk;
  const File file(disk.file(), O_RDWR);
  const std::vector<std::byte> data(70001, std::byte{0xa5});
  EXPECT_EQ(file.write(12345, data), 0);
  EXPECT_EQ(::fsync(file.fd()), 0);
  EXPECT_EQ(content(disk.image(), 12345, data.size()), data);
  EXPECT_EQ(content(disk.image(), 12345 + data.size(), 100), original(12345 + data.size(), 100));
  EXPECT_EQ(content(disk.image(), 12000, 345), original(12000, 345));
  EXPECT_EQ(disk.stats()["io"]["flushes"], 1);
}

TEST(FaultyDisk, BadSectorFailsRequestsThatTouchItAndNoOthers) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000-1010,op=read,error=EIO sectors=2000,op=read,error=ENODATA");
  for (const int flags : {O_RDONLY, O_RDONLY | O_DIRECT}) {
    const File file(disk.file(), flags);
    EXPECT_EQ(file.read_sectors(999, 1), 0);
    EXPECT_EQ(file.read_sectors(1000, 1), EIO);
    EXPECT_EQ(file.read_sectors(1010, 1), EIO);
    EXPECT_EQ(file.read_sectors(1011, 1), 0);
    EXPECT_EQ(file.read_sectors(900, 200), EIO);
    EXPECT_EQ(file.read_sectors(2000, 8), ENODATA);
  }
  const File file(disk.file(), O_RDWR);
  std::vector<std::byte> data(2);
  EXPECT_EQ(file.read(1000 * 512 - 2, data), 0);
  EXPECT_EQ(file.read(1000 * 512 - 1, data), EIO);
  EXPECT_EQ(file.read(1011 * 512 - 1, data), EIO);
  EXPECT_EQ(file.read(1011 * 512, data), 0);
  EXPECT_EQ(file.write_sectors(1000, 8, std::byte{1}), 0);
  const auto stats = disk.stats();
  EXPECT_EQ(stats["io"]["read_errors"], 10);
  EXPECT_EQ(stats["io"]["write_errors"], 0);
  EXPECT_EQ(disk.rules()[0]["failed"], 8);
  EXPECT_EQ(disk.rules()[1]["failed"], 2);
}

TEST(FaultyDisk, FailedWriteLeavesTheBadSectorAsItWas) {
  const MountedDisk disk;
  disk.must("set", "sectors=1004,op=write");
  const File file(disk.file(), O_RDWR | O_DIRECT);
  EXPECT_EQ(file.write_sectors(1000, 8, std::byte{0xee}), EIO);
  EXPECT_EQ(content(disk.image(), 1004 * 512, 4 * 512), original(1004 * 512, 4 * 512));
  EXPECT_EQ(file.read_sectors(1004, 1), 0);
  EXPECT_EQ(file.write_sectors(1005, 1, std::byte{0xee}), 0);
  EXPECT_EQ(disk.stats()["io"]["write_errors"], 1);
}

TEST(FaultyDisk, FailsSomeTimesThenWorks) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000,op=read,mode=times:3");
  const File file(disk.file(), O_RDONLY | O_DIRECT);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(file.read_sectors(1000, 1), EIO);
  EXPECT_EQ(file.read_sectors(1000, 1), 0);
  EXPECT_EQ(content(disk.file(), 1000 * 512, 512), original(1000 * 512, 512));
}

TEST(FaultyDisk, FailsUntilWritten) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000-1001,mode=until-written");
  const File file(disk.file(), O_RDWR | O_DIRECT);
  const std::vector<std::byte> byte(1);
  EXPECT_EQ(file.read_sectors(1000, 1), EIO);
  EXPECT_EQ(file.write(1000 * 512 + 10, byte), EIO);
  EXPECT_EQ(file.write_sectors(1000, 1, std::byte{7}), 0);
  EXPECT_EQ(file.read_sectors(1000, 1), 0);
  EXPECT_EQ(file.read_sectors(1001, 1), EIO);
  EXPECT_EQ(disk.rules()[0]["cured"], 1);
}

TEST(FaultyDisk, PhysicalSectorFailsAsAWhole) {
  const MountedDisk disk("--sector-size 4096");
  disk.must("set", "sectors=1001,mode=until-written");
  const File file(disk.file(), O_RDWR | O_DIRECT);
  EXPECT_EQ(file.read_sectors(999, 1), 0);
  EXPECT_EQ(file.read_sectors(1000, 1), EIO);
  EXPECT_EQ(file.read_sectors(1007, 1), EIO);
  EXPECT_EQ(file.read_sectors(1008, 1), 0);
  EXPECT_EQ(file.write_sectors(1001, 1, std::byte{7}), EIO);
  EXPECT_EQ(file.write_sectors(1000, 8, std::byte{7}), 0);
  EXPECT_EQ(file.read_sectors(1000, 8), 0);
}

TEST(FaultyDisk, SilentCorruptionSucceedsWithTheSameWrongBytes) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000,corrupt,seed=3");
  const auto wrong = content(disk.file(), 1000 * 512, 512);
  EXPECT_NE(wrong, original(1000 * 512, 512));
  EXPECT_EQ(content(disk.file(), 1000 * 512, 512), wrong);
  EXPECT_EQ(content(disk.file(), 999 * 512, 512), original(999 * 512, 512));
  EXPECT_EQ(content(disk.image(), 1000 * 512, 512), original(1000 * 512, 512));
  EXPECT_EQ(disk.stats()["io"]["corrupted_reads"], 2);
}

// An hour's delay cannot end by itself: fast requests end because they do not wait, slow ones because they are let go.
TEST(FaultyDisk, AnyNumberOfSlowRequestsLeavesFastOnesAlone) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000-1999,slow=3600s");
  std::vector<std::future<int>> slow;
  for (unsigned i = 0; i < 40; ++i) {
    slow.push_back(std::async(std::launch::async, [&disk, i] {
      const File file(disk.file(), O_RDWR | O_DIRECT);
      return i % 2 == 0 ? file.read_sectors(1000 + i, 1) : file.write_sectors(1000 + i, 1, std::byte{9});
    }));
  }
  while (disk.stats()["io"]["delayed"] != 40) std::this_thread::yield();
  const File file(disk.file(), O_RDWR | O_DIRECT);
  EXPECT_EQ(file.read_sectors(0, 8), 0);
  EXPECT_EQ(file.write_sectors(0, 8, std::byte{5}), 0);
  for (auto& request : slow) EXPECT_EQ(request.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  disk.must("clear", "all");
  for (auto& request : slow) EXPECT_EQ(request.get(), 0);
  EXPECT_EQ(content(disk.image(), 1001 * 512, 512), std::vector<std::byte>(512, std::byte{9}));
}

TEST(FaultyDisk, SlowRequestTakesItsTime) {
  const MountedDisk disk;
  disk.must("set", "sectors=1000,slow=80ms");
  const File file(disk.file(), O_RDONLY | O_DIRECT);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(file.read_sectors(1000, 1), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(80));
}

TEST(FaultyDisk, GoneDiskAnswersNothingUntilItIsBack) {
  const MountedDisk disk;
  const File file(disk.file(), O_RDWR | O_DIRECT);
  disk.must("set", "sectors=5000,slow=3600s");
  auto waiting = std::async(std::launch::async, [&] { return file.read_sectors(5000, 1); });
  while (disk.stats()["io"]["delayed"] != 1) std::this_thread::yield();
  disk.must("gone", "on");
  EXPECT_EQ(waiting.get(), ENODEV);
  EXPECT_EQ(file.read_sectors(0, 1), ENODEV);
  EXPECT_EQ(file.write_sectors(0, 1, std::byte{1}), ENODEV);
  EXPECT_EQ(::fsync(file.fd()), -1);
  EXPECT_EQ(errno, ENODEV);
  EXPECT_EQ(::fallocate(file.fd(), FALLOC_FL_ZERO_RANGE, 0, 4096), -1);
  EXPECT_EQ(errno, ENODEV);
  EXPECT_EQ(::open(disk.file().c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENODEV);
  disk.must("gone", "on --error EIO");
  EXPECT_EQ(file.read_sectors(0, 1), EIO);
  EXPECT_EQ(disk.stats()["gone"], "EIO");
  disk.must("gone", "off");
  EXPECT_EQ(file.read_sectors(0, 1), 0);
  EXPECT_EQ(content(disk.image(), 0, 512), original(0, 512));
  EXPECT_EQ(disk.stats()["io"]["refused_gone"], 7);
}

TEST(FaultyDisk, FlushFailsOnCommand) {
  const MountedDisk disk;
  disk.must("set", "op=flush,error=EIO,mode=times:1");
  const File file(disk.file(), O_RDWR);
  EXPECT_EQ(::fsync(file.fd()), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(::fsync(file.fd()), 0);
  EXPECT_EQ(disk.stats()["io"]["flush_errors"], 1);
}

TEST(FaultyDisk, ZeroingObeysWriteFaultsAndReadsBackAsZeros) {
  const MountedDisk disk;
  disk.must("set", "sectors=1004,op=write sectors=3000,mode=until-written");
  const File file(disk.file(), O_RDWR | O_DIRECT);
  for (const int mode : {FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE}) {
    // Refused kinds must not switch the operation off.
    EXPECT_EQ(::fallocate(file.fd(), 0, 0, 4096), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(::fallocate(file.fd(), mode, 1000 * 512, 8 * 512), -1);
    EXPECT_EQ(errno, EIO);
    EXPECT_EQ(content(disk.image(), 1004 * 512, 4 * 512), original(1004 * 512, 4 * 512));
    const off_t at = mode == FALLOC_FL_ZERO_RANGE ? 2000 * 512 : 3000 * 512;
    EXPECT_EQ(::fallocate(file.fd(), mode, at, 5000), 0);
    EXPECT_EQ(content(disk.file(), static_cast<std::uint64_t>(at), 5000), std::vector<std::byte>(5000));
    EXPECT_EQ(content(disk.file(), static_cast<std::uint64_t>(at) + 5000, 99),
              original(static_cast<std::uint64_t>(at) + 5000, 99));
  }
  EXPECT_EQ(disk.rules()[1]["cured"], 1);
}

TEST(FaultyDisk, SizeNeverChanges) {
  const MountedDisk disk;
  const File file(disk.file(), O_RDWR);
  EXPECT_EQ(::ftruncate(file.fd(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::truncate(disk.file().c_str(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::open(disk.file().c_str(), O_RDWR | O_TRUNC), -1);
  EXPECT_EQ(errno, EPERM);
  const std::vector<std::byte> data(1024);
  EXPECT_EQ(file.write(MountedDisk::kSize - 512, data), ENOSPC);
  EXPECT_EQ(content(disk.image(), MountedDisk::kSize - 512, 512), original(MountedDisk::kSize - 512, 512));
  struct stat status {};
  ASSERT_EQ(::fstat(file.fd(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), MountedDisk::kSize);
}

TEST(FaultyDisk, HolesOfTheImageShow) {
  const MountedDisk disk;
  const File image(disk.image(), O_RDWR);
  ASSERT_EQ(::fallocate(image.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20), 0);
  const File file(disk.file(), O_RDONLY);
  EXPECT_EQ(::lseek(file.fd(), 0, SEEK_HOLE), 1 << 20);
  EXPECT_EQ(::lseek(file.fd(), 1 << 20, SEEK_DATA), 2 << 20);
  EXPECT_EQ(::lseek(file.fd(), 0, SEEK_END), static_cast<off_t>(MountedDisk::kSize));
}

TEST(FaultyDisk, GrowsBadSectorsWithTime) {
  const MountedDisk disk;
  disk.must("set", "grow=1000000-per-1,seed=1,limit=50,op=read");
  while (disk.rules()[0]["physical_sectors"] != 50) std::this_thread::yield();
  const File file(disk.file(), O_RDONLY | O_DIRECT);
  int bad = 0;
  for (std::uint64_t sector = 0; sector < MountedDisk::kSize / 512; sector += 2048) {
    bad += file.read_sectors(sector, 2048) == EIO ? 1 : 0;
  }
  EXPECT_GT(bad, 10);
  EXPECT_LE(bad, 50);
}

}  // namespace
}  // namespace faulty_test
