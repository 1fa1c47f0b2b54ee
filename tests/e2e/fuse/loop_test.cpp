// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "mounted_disk.hpp"
#include "open_file.hpp"

namespace remapfs::fuse::test {
namespace {

// A loop device over a file, made by losetup; the kernel takes it away with its last user, even a killed one.
class LoopDevice {
 public:
  LoopDevice(const std::string& file, const std::string& direct) {
    const auto made = run("losetup --find --show --direct-io=\"$2\" \"$1\"", {file, direct});
    if (made.status != 0) {
      ADD_FAILURE() << made.output;
      return;
    }
    path_ = made.output.substr(0, made.output.find('\n'));
    device_ = open_file(path_, O_RDWR | O_DIRECT);
    loop_info64 info{};
    if (::ioctl(device_.get(), LOOP_GET_STATUS64, &info) == 0) {
      direct_ = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
      info.lo_flags |= LO_FLAGS_AUTOCLEAR;
      EXPECT_EQ(::ioctl(device_.get(), LOOP_SET_STATUS64, &info), 0);
    }
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const UniqueFd& device() const { return device_; }
  [[nodiscard]] bool direct() const { return direct_; }

 private:
  std::string path_;
  UniqueFd device_;
  bool direct_ = false;
};

// Page-aligned memory, in huge pages where they can be had.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t size) : mapped_(size + kHugePage) {
    map_ = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) std::abort();
    const auto address = round_up(reinterpret_cast<std::uintptr_t>(map_), kHugePage);
    bytes_ = {reinterpret_cast<std::byte*>(address), size};
    ::madvise(bytes_.data(), size, MADV_HUGEPAGE);
    std::fill(bytes_.begin(), bytes_.end(), std::byte{1});
  }
  ~AlignedBuffer() { ::munmap(map_, mapped_); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kHugePage = 2 * kMiB;
  void* map_ = nullptr;
  std::size_t mapped_;
  std::span<std::byte> bytes_;
};

TEST(Loop, FileSystemOnTheDiskKeepsItsFilesAcrossRemount) {
  const MountedDisk disk(64 * kMiB);
  const LoopDevice loop(disk.path(), "on");
  ASSERT_FALSE(loop.path().empty());
  EXPECT_TRUE(loop.direct());
  const auto outcome =
      run("set -e; mkfs.ext4 -q \"$1\"; mkdir -p /mnt/ext4; mount \"$1\" /mnt/ext4\n"
          "trap 'umount /mnt/ext4 2>/dev/null || true' EXIT\n"
          "head -c 20000000 /dev/urandom > /mnt/ext4/file; sync; sum=$(sha256sum < /mnt/ext4/file)\n"
          "umount /mnt/ext4; e2fsck -fn \"$1\" >/dev/null; mount \"$1\" /mnt/ext4\n"
          "test \"$sum\" = \"$(sha256sum < /mnt/ext4/file)\"; fstrim /mnt/ext4\n"
          "test \"$sum\" = \"$(sha256sum < /mnt/ext4/file)\"; umount /mnt/ext4; e2fsck -fn \"$1\" >/dev/null",
          {loop.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_GT(disk.memory().calls(Access::flush), 0U);
  EXPECT_GT(disk.memory().calls(Access::punch), 0U) << "fstrim";
}

TEST(Loop, ZeroingAndDiscardingReadBackAsZeros) {
  const MountedDisk disk(8 * kMiB);
  const LoopDevice loop(disk.path(), "on");
  const auto zeroed = run("blkdiscard -z -o 4096 -l 1M \"$1\"", {loop.path()});
  EXPECT_EQ(zeroed.status, 0) << zeroed.output;
  EXPECT_GT(disk.memory().calls(Access::zero), 0U);
  const auto discarded = run("blkdiscard -o 4M -l 1M \"$1\"", {loop.path()});
  EXPECT_EQ(discarded.status, 0) << discarded.output;
  EXPECT_GT(disk.memory().calls(Access::punch), 0U);
  const auto bytes = disk.memory().bytes();
  for (std::uint64_t i = 0; i < bytes.size(); ++i) {
    const bool cleared = (i >= 4096 && i < 4096 + kMiB) || (i >= 4 * kMiB && i < 5 * kMiB);
    ASSERT_EQ(bytes[i], cleared ? std::byte{0} : SharedMemory::pattern(i)) << i;
  }
}

// Loop takes a short write for a whole one. A request of it may be larger than the largest of FUSE, and fail in the
// part that is sent second.
TEST(Loop, WriteThatFailsInItsSecondHalfIsAnErrorAndNotAShortSuccess) {
  for (const char* direct : {"on", "off"}) {
    const MountedDisk disk(8 * kMiB);
    const LoopDevice loop(disk.path(), direct);
    const std::string name = loop.path().substr(loop.path().rfind('/') + 1);
    const auto widened = run("cat /sys/block/$1/queue/max_hw_sectors_kb > /sys/block/$1/queue/max_sectors_kb", {name});
    EXPECT_EQ(widened.status, 0) << widened.output;
    // A request of loop has at most 128 segments: only contiguous memory makes it larger than 1 MiB. In requests of
    // 1280 KiB, sent in two parts each but the last, 4 MiB are 7 writes.
    std::optional<AlignedBuffer> memory;
    for (int attempt = 0; attempt < 50; ++attempt) {
      memory.emplace(4 * kMiB);
      const std::uint64_t before = disk.memory().calls(Access::write);
      ASSERT_EQ(write_at(loop.device(), memory->bytes(), 0), static_cast<ssize_t>(4 * kMiB));
      if (disk.memory().calls(Access::write) - before == 7) break;
      memory.reset();
    }
    ASSERT_TRUE(memory) << "no huge pages: is /sys/kernel/mm/transparent_hugepage/enabled set to never?";
    const AlignedBuffer& buffer = *memory;
    for (std::uint64_t bad = 0; bad < 4 * kMiB; bad += kMiB / 4) {
      disk.memory().arm(Access::write, bad, bad + 512, Errc::store);
      ssize_t written = write_at(loop.device(), buffer.bytes(), 0);
      // A success has to be of the part before the bad sector. Buffered by loop, it may come with the sync.
      if (written >= 0 && static_cast<std::uint64_t>(written) > bad && ::fsync(loop.device().get()) != 0)
        written = -EIO;
      EXPECT_TRUE(written < 0 || static_cast<std::uint64_t>(written) <= bad)
          << "direct-io " << direct << ", bad at " << bad << ": " << written;
      disk.memory().disarm_all();
    }
  }
}

TEST(Loop, ReadErrorBelowIsAReadErrorOfTheDevice) {
  const MountedDisk disk(8 * kMiB);
  const LoopDevice loop(disk.path(), "on");
  disk.memory().arm(Access::read, 2 * kMiB, 2 * kMiB + 512, Errc::lost);
  const AlignedBuffer buffer(2 * kMiB);
  EXPECT_EQ(read_at(loop.device(), buffer.bytes().first(4096), 2 * kMiB), -EIO);
  EXPECT_EQ(read_at(loop.device(), buffer.bytes().first(512), 2 * kMiB + 512), 512);
  EXPECT_EQ(read_at(loop.device(), buffer.bytes().first(4096), 2 * kMiB - 4096), 4096);
}

TEST(Loop, FailedFlushIsAFailedFsyncOfTheDevice) {
  const MountedDisk disk(8 * kMiB);
  const LoopDevice loop(disk.path(), "on");
  const AlignedBuffer buffer(2 * kMiB);
  EXPECT_EQ(write_at(loop.device(), buffer.bytes().first(4096), 0), 4096);
  EXPECT_EQ(error_of(::fsync(loop.device().get())), 0);
  disk.memory().arm(Access::flush, 0, 8 * kMiB, Errc::failed);
  EXPECT_EQ(write_at(loop.device(), buffer.bytes().first(4096), 0), 4096);
  EXPECT_EQ(error_of(::fsync(loop.device().get())), EIO);
}

}  // namespace
}  // namespace remapfs::fuse::test
