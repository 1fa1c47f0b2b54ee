// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "fuse/errno_map.hpp"
#include "mounted_disk.hpp"
#include "open_file.hpp"
#include "support/eventually.hpp"

namespace remapfs::fuse::test {
namespace {

constexpr std::uint64_t kSize = 8 * kMiB + 1536;  // ends inside a page

struct Fsyncs {
  int error;  // of the last one
  unsigned asked;
};

// Asks until the failure just told is forgotten. That comes after telling it (FailedHandles): an fsync at its heels may
// hear it again.
Fsyncs fsync_once_told(const UniqueFd& file) {
  Fsyncs done{error_of(::fsync(file.get())), 1};
  while (done.error == EIO && done.asked < 1000) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    done = {error_of(::fsync(file.get())), done.asked + 1};
  }
  return done;
}

TEST(Contents, RandomRequestsOfOddSizesMatchAPlainByteVector) {
  const char* chosen = std::getenv("REMAPFS_TEST_SEED");
  const std::uint64_t seed = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("REMAPFS_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  ASSERT_TRUE(file);
  std::vector<std::byte> model(disk.memory().bytes().begin(), disk.memory().bytes().end());
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t offset = random() % kSize;
    const std::uint64_t length = std::min(random() % (random() % 8 == 0 ? 3 * kMiB : 20000), kSize - offset);
    std::vector<std::byte> buffer(length);
    if (random() % 2 == 0) {
      for (auto& byte : buffer) byte = static_cast<std::byte>(random());
      ASSERT_EQ(write_at(file, buffer, static_cast<off_t>(offset)), static_cast<ssize_t>(length));
      std::copy(buffer.begin(), buffer.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
    } else {
      ASSERT_EQ(read_at(file, buffer, static_cast<off_t>(offset)), static_cast<ssize_t>(length));
      ASSERT_EQ(std::memcmp(buffer.data(), model.data() + offset, length), 0) << "step " << step;
    }
  }
  EXPECT_EQ(std::memcmp(disk.memory().bytes().data(), model.data(), kSize), 0);
}

TEST(Contents, DdWithAnyBlockSizeCopiesTheDiskInAndOut) {
  const MountedDisk disk(kSize);
  const std::vector<std::byte> before(disk.memory().bytes().begin(), disk.memory().bytes().end());
  for (const char* block : {"511", "4097", "1M", "3M"}) {
    const auto out = run("dd if=\"$1\" of=/mnt/copy bs=\"$2\" status=none", {disk.path(), block});
    EXPECT_EQ(out.status, 0) << out.output;
    std::fill(disk.memory().bytes().begin(), disk.memory().bytes().end(), std::byte{0});
    const auto in = run("dd of=\"$1\" if=/mnt/copy bs=\"$2\" status=none", {disk.path(), block});
    EXPECT_EQ(in.status, 0) << in.output;
    EXPECT_EQ(std::memcmp(disk.memory().bytes().data(), before.data(), kSize), 0) << block;
  }
  const auto single = run("head -c 3000 /mnt/copy | dd of=\"$1\" bs=1 seek=5 conv=notrunc status=none", {disk.path()});
  EXPECT_EQ(single.status, 0) << single.output;
  EXPECT_EQ(std::memcmp(disk.memory().bytes().data() + 5, before.data(), 3000), 0);
  EXPECT_EQ(std::memcmp(disk.memory().bytes().data() + 3005, before.data() + 3005, kSize - 3005), 0);
}

TEST(Contents, DirectReadsAndWritesReachTheDiskAsOneRequestOfTheirSize) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR | O_DIRECT);
  ASSERT_TRUE(file);
  void* memory = std::aligned_alloc(4096, kMiB);
  const std::span buffer(static_cast<std::byte*>(memory), kMiB);
  EXPECT_EQ(read_at(file, buffer, 4096), static_cast<ssize_t>(kMiB));
  EXPECT_TRUE(SharedMemory::has_pattern(buffer, 4096));
  EXPECT_EQ(disk.memory().calls(Access::read), 1U);
  std::fill(buffer.begin(), buffer.end(), std::byte{0x5A});
  EXPECT_EQ(write_at(file, buffer, 512), static_cast<ssize_t>(kMiB));
  EXPECT_EQ(disk.memory().calls(Access::write), 1U);
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes().first(512), 0));
  EXPECT_EQ(std::memcmp(disk.memory().bytes().data() + 512, memory, kMiB), 0);
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes().subspan(512 + kMiB), 512 + kMiB));
  std::free(memory);
}

TEST(Contents, ReadsEndAtTheEndOfTheDisk) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDONLY);
  std::vector<std::byte> buffer(10000);
  EXPECT_EQ(read_at(file, buffer, kSize - 100), 100);
  EXPECT_TRUE(SharedMemory::has_pattern(std::span(buffer).first(100), kSize - 100));
  EXPECT_EQ(read_at(file, buffer, kSize), 0);
  EXPECT_EQ(read_at(file, buffer, kSize + 12345), 0);
}

TEST(Contents, WritePastTheEndStoresNothingAndTheSizeStays) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  EXPECT_EQ(write_at(file, bytes_of(2, 1), kSize - 1), -ENOSPC);
  EXPECT_EQ(write_at(file, bytes_of(4096, 1), kSize - 1000), -ENOSPC);
  EXPECT_EQ(write_at(file, bytes_of(1, 1), kSize), -ENOSPC);
  EXPECT_EQ(write_at(file, bytes_of(1, 1), kSize + 4096), -ENOSPC);
  const UniqueFd appending = open_file(disk.path(), O_WRONLY | O_APPEND);
  EXPECT_EQ(error_of(static_cast<int>(::write(appending.get(), "x", 1))), ENOSPC);
  EXPECT_EQ(disk.memory().calls(Access::write), 0U);
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes(), 0));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), static_cast<off_t>(kSize));
  EXPECT_EQ(write_at(file, bytes_of(1, 1), kSize - 1), 1);
}

TEST(Contents, ReadErrorReachesExactlyTheRequestsThatTouchIt) {
  const MountedDisk disk(kSize);
  disk.memory().arm(Access::read, 8192, 8704, Errc::lost);
  const UniqueFd file = open_file(disk.path(), O_RDONLY);
  std::vector<std::byte> buffer(4096);
  EXPECT_EQ(read_at(file, buffer, 4096), 4096);
  EXPECT_EQ(read_at(file, buffer, 4097), -EIO);
  EXPECT_EQ(read_at(file, buffer, 8192), -EIO);
  EXPECT_EQ(read_at(file, buffer, 8703), -EIO);
  EXPECT_EQ(read_at(file, buffer, 8704), 4096);
  EXPECT_TRUE(SharedMemory::has_pattern(buffer, 8704));
  EXPECT_EQ(read_at(file, std::span(buffer).first(1), 8191), 1);
  EXPECT_EQ(read_at(file, std::span(buffer).first(1), 8192), -EIO);
  // The next try asks the disk again.
  disk.memory().disarm_all();
  EXPECT_EQ(read_at(file, buffer, 8192), 4096);
  EXPECT_TRUE(SharedMemory::has_pattern(buffer, 8192));
}

TEST(Contents, WriteErrorIsAnsweredToItsOwnWrite) {
  const MountedDisk disk(kSize);
  disk.memory().arm(Access::write, 8192, 8704, Errc::no_space);
  disk.memory().arm(Access::write, 16384, 16385, Errc::store);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  EXPECT_EQ(write_at(file, bytes_of(4096, 1), 4096), 4096);
  EXPECT_EQ(write_at(file, bytes_of(4096, 1), 8192), -ENOSPC);
  EXPECT_EQ(write_at(file, bytes_of(4096, 1), 16384), -EIO);
  EXPECT_EQ(write_at(file, bytes_of(1, 1), 16383), 1);
}

// The count of a write that the kernel had to split does not tell of its second part.
TEST(Contents, WriteErrorIsToldAgainByTheNextFsyncThroughTheSameFileOnly) {
  const MountedDisk disk(kSize);
  disk.memory().arm(Access::write, kMiB, kMiB + 512, Errc::no_space);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  const UniqueFd other = open_file(disk.path(), O_RDWR);
  const ssize_t written = write_at(file, bytes_of(2 * kMiB, 1), 0);
  EXPECT_GT(written, 0);
  EXPECT_LE(written, static_cast<ssize_t>(kMiB));
  EXPECT_EQ(write_at(other, bytes_of(512, 1), 0), 512);
  EXPECT_EQ(error_of(::fsync(other.get())), 0);
  EXPECT_EQ(error_of(::fsync(file.get())), EIO);
  EXPECT_EQ(disk.memory().calls(Access::flush), 2U);
  const Fsyncs once_told = fsync_once_told(file);
  EXPECT_EQ(once_told.error, 0);
  EXPECT_EQ(disk.memory().calls(Access::flush), 2U + once_told.asked) << "each asked the disk";
  // Direct I/O of the kernel's own is answered as a whole: nothing to tell again.
  const UniqueFd direct = open_file(disk.path(), O_RDWR | O_DIRECT);
  EXPECT_EQ(write_at(direct, bytes_of(512, 1), kMiB), -ENOSPC);
  EXPECT_EQ(error_of(::fsync(direct.get())), 0);
  // What the caller got wrong is no failure of the disk.
  EXPECT_EQ(write_at(file, bytes_of(512, 1), kSize), -ENOSPC);
  EXPECT_EQ(error_of(::fsync(file.get())), 0);
}

TEST(Contents, EveryKindOfErrorReachesTheCallerAsItsErrno) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  for (int i = 0; i <= static_cast<int>(Errc::interrupted); ++i) {
    const auto code = static_cast<Errc>(i);
    disk.memory().arm(Access::write, 0, 512, code);
    EXPECT_EQ(write_at(file, bytes_of(512, 1), 0), -errno_for_caller(code)) << to_string(code);
    disk.memory().disarm_all();
  }
}

TEST(Contents, FailedFlushIsAnsweredToFsyncAndNotToClose) {
  const MountedDisk disk(kSize);
  disk.memory().arm(Access::flush, 0, kSize, Errc::failed);
  UniqueFd file = open_file(disk.path(), O_RDWR);
  EXPECT_EQ(write_at(file, bytes_of(512, 1), 0), 512);
  EXPECT_EQ(error_of(::fsync(file.get())), EIO);
  EXPECT_EQ(error_of(::fdatasync(file.get())), EIO);
  EXPECT_EQ(disk.memory().calls(Access::flush), 2U);
  EXPECT_EQ(::close(file.release()), 0);
  EXPECT_EQ(disk.memory().calls(Access::flush), 2U);
}

TEST(Contents, SynchronousWritesAreFlushedBeforeTheyAreAcknowledged) {
  const MountedDisk disk(kSize);
  std::uint64_t flushes = 0;
  for (const int flags : {O_DSYNC, O_SYNC, O_DSYNC | O_DIRECT}) {
    const UniqueFd file = open_file(disk.path(), O_RDWR | flags);
    void* memory = std::aligned_alloc(4096, 4096);
    std::memset(memory, 1, 4096);
    const std::span<const std::byte> data(static_cast<std::byte*>(memory), 4096);
    EXPECT_EQ(write_at(file, data, 0), 4096);
    EXPECT_EQ(disk.memory().calls(Access::flush), ++flushes) << flags;
    EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 0, 4096)), 0);
    EXPECT_EQ(disk.memory().calls(Access::flush), ++flushes) << flags;
    disk.memory().arm(Access::flush, 0, kSize, Errc::failed);
    EXPECT_EQ(write_at(file, data, 0), -EIO) << flags;
    EXPECT_EQ(disk.memory().calls(Access::flush), ++flushes) << flags;
    disk.memory().disarm_all();
    std::free(memory);
  }
  const UniqueFd plain = open_file(disk.path(), O_RDWR);
  auto data = bytes_of(512, 1);
  const iovec part{data.data(), data.size()};
  EXPECT_EQ(::pwritev2(plain.get(), &part, 1, 0, RWF_DSYNC), 512);
  EXPECT_EQ(disk.memory().calls(Access::flush), ++flushes);
  EXPECT_EQ(write_at(plain, data, 0), 512);
  EXPECT_EQ(disk.memory().calls(Access::flush), flushes);
}

// The flush of somebody else may have been told that they are gone.
TEST(Contents, SynchronousWritesThatADeviceLostBeforeTheirFlushWasOverAreWrittenAgain) {
  const MountedDisk disk(kSize);
  for (const int flags : {O_DSYNC, O_DSYNC | O_DIRECT}) {
    const UniqueFd file = open_file(disk.path(), O_RDWR | flags);
    void* memory = std::aligned_alloc(4096, 8192);
    std::memset(memory, 1, 8192);
    const std::span<const std::byte> data(static_cast<std::byte*>(memory), 8192);
    disk.memory().state().lost_in_flush = true;
    EXPECT_EQ(write_at(file, data, 4096), 8192);
    EXPECT_TRUE(std::ranges::equal(disk.memory().bytes().subspan(4096, 8192), data)) << flags;
    disk.memory().state().lost_in_flush = true;
    EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 0, 4096)), 0);
    EXPECT_TRUE(std::ranges::equal(disk.memory().bytes().first(4096), bytes_of(4096, 0))) << flags;
    std::free(memory);
  }
  EXPECT_EQ(disk.memory().calls(Access::flush), 8U) << "each of the four was flushed twice";
}

// The kernel makes a short count of it, and whoever writes the rest again hears nothing of what the flush had told.
TEST(Contents, AFailedFlushOfALongSynchronousWriteIsToldAgainByTheNextFsync) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR | O_DSYNC);
  disk.memory().state().flush_to_fail = 2;
  const ssize_t written = write_at(file, bytes_of(2 * kMiB, 1), 0);
  EXPECT_GT(written, 0);
  EXPECT_LE(written, static_cast<ssize_t>(kMiB));
  EXPECT_EQ(error_of(::fsync(file.get())), EIO);
  EXPECT_EQ(fsync_once_told(file).error, 0);
}

TEST(Contents, FallocateZeroesAndPunchesAndNeverGrows) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  const auto allocate = [&](int mode, off_t offset, off_t length) {
    return error_of(::fallocate(file.get(), mode, offset, length));
  };
  EXPECT_EQ(allocate(0, 0, kSize), 0);
  EXPECT_EQ(allocate(FALLOC_FL_KEEP_SIZE, 0, kSize), 0);
  EXPECT_EQ(allocate(0, 0, kSize + 1), ENOSPC);
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes(), 0));

  EXPECT_EQ(allocate(FALLOC_FL_ZERO_RANGE, 100, 1000), 0);
  EXPECT_EQ(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kSize - 10, 1000), 0);
  std::vector<std::byte> buffer(1000);
  EXPECT_EQ(read_at(file, buffer, 100), 1000);
  EXPECT_EQ(buffer, bytes_of(1000, 0));
  EXPECT_EQ(read_at(file, buffer, kSize - 10), 10);
  EXPECT_EQ(std::vector(buffer.begin(), buffer.begin() + 10), bytes_of(10, 0));
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes().subspan(1100, kSize - 10 - 1100), 1100));
  EXPECT_TRUE(SharedMemory::has_pattern(disk.memory().bytes().first(100), 0));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), static_cast<off_t>(kSize));
  EXPECT_EQ(allocate(FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
}

TEST(Contents, RefusedPunchIsNotRememberedByTheKernel) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  disk.memory().state().can_punch = false;
  EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(disk.memory().calls(Access::punch), 0U);
  disk.memory().state().can_punch = true;
  EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)), 0);
  EXPECT_EQ(disk.memory().calls(Access::punch), 1U);
  disk.memory().arm(Access::zero, 0, kSize, Errc::media);
  EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 0, 4096)), EIO);
}

TEST(Contents, SeeksFindDataAndHolesAsTheManualSays) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDONLY);
  const auto seek = [&](off_t offset, int whence) {
    const off_t found = ::lseek(file.get(), offset, whence);
    return found < 0 ? -static_cast<off_t>(errno) : found;
  };
  EXPECT_EQ(seek(0, SEEK_DATA), 0);
  EXPECT_EQ(seek(0, SEEK_HOLE), static_cast<off_t>(kSize));
  disk.memory().state().data_begin = 4096;
  disk.memory().state().data_end = 8192;
  EXPECT_EQ(seek(0, SEEK_DATA), 4096);
  EXPECT_EQ(seek(5000, SEEK_DATA), 5000);
  EXPECT_EQ(seek(8192, SEEK_DATA), -ENXIO);
  EXPECT_EQ(seek(0, SEEK_HOLE), 0);
  EXPECT_EQ(seek(4096, SEEK_HOLE), 8192);
  EXPECT_EQ(seek(kSize, SEEK_DATA), -ENXIO);
  EXPECT_EQ(seek(kSize, SEEK_HOLE), -ENXIO);
}

TEST(Contents, PrivateMappingWorksAndSharedOneIsRefused) {
  const MountedDisk disk(kSize);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  EXPECT_EQ(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, file.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, ENODEV);
  void* memory = ::mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE, file.get(), 4096);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_TRUE(SharedMemory::has_pattern(std::span(static_cast<std::byte*>(memory), 8192), 4096));
  ::munmap(memory, 8192);
  // What the page cache kept for the mapping never answers a read.
  EXPECT_EQ(write_at(file, bytes_of(512, 9), 4096), 512);
  std::vector<std::byte> buffer(512);
  EXPECT_EQ(read_at(file, buffer, 4096), 512);
  EXPECT_EQ(buffer, bytes_of(512, 9));
}

TEST(Contents, WritesToOneFileAreServedSideBySide) {
  ServeOptions options;
  options.workers = 4;
  const MountedDisk disk(kSize, options);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  disk.memory().state().hold_writes = true;
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&, i] {
      if (write_at(file, bytes_of(4096, 7), i * 4096) != 4096) ++failures;
    });
  }
  testing::eventually([&] { return disk.memory().state().writes_in_flight >= 4; }, std::chrono::seconds(20));
  EXPECT_EQ(disk.memory().state().writes_in_flight.load(), 4U);
  disk.memory().state().hold_writes = false;
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(std::vector(disk.memory().bytes().begin(), disk.memory().bytes().begin() + 16384), bytes_of(16384, 7));
}

TEST(Contents, ThirtyTwoWritersOfNeighbouringOddRangesNeverDisturbEachOther) {
  constexpr std::uint64_t kStripe = 5003;  // a prime: neighbours share sectors and pages
  constexpr unsigned kWriters = 32;
  ServeOptions options;
  options.workers = 16;
  const MountedDisk disk(kSize, options);
  std::atomic<int> failures{0};
  std::vector<std::thread> writers;
  for (unsigned i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const UniqueFd file = open_file(disk.path(), O_RDWR);
      for (unsigned round = 0; round < 60; ++round) {
        const std::uint64_t offset = ((round * kWriters + i) * kStripe) % (kSize - kWriters * kStripe);
        const std::uint64_t mine = offset - offset % (kWriters * kStripe) + i * kStripe;
        const auto data = bytes_of(kStripe, static_cast<unsigned char>(round * kWriters + i));
        std::vector<std::byte> back(kStripe);
        const auto at = static_cast<off_t>(mine);
        if (write_at(file, data, at) != kStripe || read_at(file, back, at) != kStripe || back != data) ++failures;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST(Contents, ThirtyTwoJobsOfFioVerifyWhatTheyWrote) {
  ServeOptions options;
  options.workers = 16;
  const MountedDisk disk(64 * kMiB, options);
  const auto outcome = run(
      "cd /mnt && fio --name=verify --filename=\"$1\" --rw=randwrite --bs=4k --ioengine=psync --numjobs=32 --thread "
      "--offset_increment=2M --size=2M --verify=crc32c --do_verify=1 --verify_fatal=1 --allow_file_create=0 "
      "--group_reporting --minimal",
      {disk.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(disk.memory().calls(Access::write), 32U * 512U);
}

TEST(Contents, AsynchronousDirectLoadVerifies) {
  const MountedDisk disk(64 * kMiB);
  const auto outcome = run(
      "cd /mnt && fio --name=verify --filename=\"$1\" --filesize=64M --rw=randwrite --bs=4k --direct=1 "
      "--ioengine=libaio --iodepth=64 --size=16M --verify=crc32c --do_verify=1 --verify_fatal=1 --allow_file_create=0",
      {disk.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace remapfs::fuse::test
