// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "mounted_disk.hpp"
#include "open_file.hpp"
#include "support/eventually.hpp"

// What only the io_uring engine does: a blocking worker has one request in hand.

namespace remapfs::fuse::test {
namespace {

constexpr std::uint64_t kDiskSize = 8 * kMiB;

// Requests of a mount that wait for their answers.
class Waiting {
 public:
  explicit Waiting(const UniqueFd& file) {
    struct stat status {};
    EXPECT_EQ(::fstat(file.get(), &status), 0);
    path_ = "/sys/fs/fuse/connections/" + std::to_string(minor(status.st_dev)) + "/waiting";
  }

  // Until there are so many; how many there are when it gives up.
  [[nodiscard]] std::size_t wait_for(std::size_t wanted) const {
    std::size_t there = 0;
    testing::eventually([&] { return std::ifstream(path_) >> there && there == wanted; }, std::chrono::seconds(20));
    return there;
  }

 private:
  std::string path_;
};

TEST(Rings, WritesThatAreStuckLeaveReadsAlone) {
  ServeOptions options;
  options.workers = 1;
  const MountedDisk disk(kDiskSize, options);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  disk.memory().state().hold_writes = true;
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  std::vector<std::byte> buffer(65536);
  // More than there are threads to wait with them, and others on their way in between.
  for (int i = 0; i < 110; ++i) {
    writers.emplace_back([&, i] {
      if (write_at(file, bytes_of(4096, static_cast<unsigned char>(i)), i * 4096) != 4096) ++failures;
    });
    for (int j = 0; j < 20; ++j) EXPECT_EQ(read_at(file, buffer, 1 << 18), 65536);
  }
  struct stat status {};
  EXPECT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(read_at(file, buffer, 1 << 18), 65536);
  disk.memory().state().hold_writes = false;
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failures.load(), 0);
  for (std::size_t i = 0; i < 110; ++i) {
    EXPECT_EQ(disk.memory().bytes()[i * 4096 + 4095], static_cast<std::byte>(i));
  }
}

TEST(Rings, MoreStuckWritesThanAWorkerCanHoldWaitAndAreAllDone) {
  ServeOptions options;
  options.workers = 1;
  const MountedDisk disk(kDiskSize, options);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  const Waiting waiting(file);
  disk.memory().state().hold_writes = true;
  constexpr std::size_t kWriters = 200;
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  for (std::size_t i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      if (write_at(file, bytes_of(4096, static_cast<unsigned char>(i)), static_cast<off_t>(i) * 4096) != 4096) {
        ++failures;
      }
    });
  }
  EXPECT_EQ(waiting.wait_for(kWriters), kWriters);
  disk.memory().state().hold_writes = false;
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failures.load(), 0);
  for (std::size_t i = 0; i < kWriters; ++i) {
    EXPECT_EQ(disk.memory().bytes()[i * 4096 + 4095], static_cast<std::byte>(i));
  }
}

// The worker that takes the first of them has them all in flight before it waits for any.
TEST(Rings, ReadsThatCameTogetherAreInFlightTogether) {
  ServeOptions options;
  options.workers = 1;
  const MountedDisk disk(kDiskSize, options);
  const UniqueFd file = open_file(disk.path(), O_RDONLY | O_DIRECT);
  const Waiting waiting(file);
  constexpr int kRounds = 20;
  int together = 0;
  for (int round = 0; round < kRounds; ++round) {
    disk.memory().state().most_begun = 0;
    disk.memory().state().hold_begins = true;
    std::vector<std::thread> readers;
    std::atomic<int> failures{0};
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&, i] {
        alignas(4096) std::array<std::byte, 4096> bytes;
        if (read_at(file, bytes, i * 4096) != 4096 ||
            !SharedMemory::has_pattern(bytes, static_cast<unsigned>(i) * 4096))
          ++failures;
      });
    }
    const std::size_t there = waiting.wait_for(4);
    disk.memory().state().hold_begins = false;
    for (auto& reader : readers) reader.join();
    EXPECT_EQ(failures.load(), 0);
    ASSERT_EQ(there, 4U);
    if (disk.memory().state().most_begun == 4U) ++together;
  }
  // The kernel counts a request a moment before it can be taken.
  EXPECT_GE(together, kRounds * 3 / 4);
}

}  // namespace
}  // namespace remapfs::fuse::test
