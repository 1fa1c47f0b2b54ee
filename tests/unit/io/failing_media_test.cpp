// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "core/unique_fd.hpp"
#include "io/posix_device.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "support/loop_device.hpp"
#include "support/mounted_filesystem.hpp"

// Real media errors without special hardware: a loop device over a file with holes on a full tmpfs fails every write to
// a hole, and one whose backing file was cut fails every read beyond the cut.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

AlignedBuffer filled(std::size_t size, int value) {
  AlignedBuffer buffer = *AlignedBuffer::allocate(size);
  std::fill_n(buffer.data(), size, static_cast<std::byte>(value));
  return buffer;
}

// A tmpfs with a disk image on it that can be made to fail.
class FailingMedia : public ::testing::Test {
 protected:
  void make_image(std::uint64_t size) {
    std::ofstream{image_};
    std::filesystem::resize_file(image_, size);
  }
  // Takes all memory of the tmpfs: holes can no longer be written.
  void fill_up() {
    const UniqueFd fd(::open((tmpfs_ / "ballast").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    std::vector<char> page(4096, 'b');
    while (::write(fd.get(), page.data(), page.size()) > 0) {
    }
    ASSERT_EQ(errno, ENOSPC);
  }
  void make_room() { std::filesystem::remove(tmpfs_ / "ballast"); }
  void punch_image(std::uint64_t begin, std::uint64_t size) {
    const UniqueFd fd(::open(image_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                          static_cast<off_t>(size)),
              0);
  }

  MountedTmpfs tmpfs_{96 * kMiB};
  const std::string image_ = tmpfs_ / "image";
};

TEST_F(FailingMedia, AFailedWriteToADeviceIsSeenAtOnceNotAtTheNextSync) {
  make_image(8 * kMiB);
  const LoopDevice loop(image_);
  for (const bool direct : {true, false}) {
    DeviceOptions options;
    options.try_direct = direct;
    auto device = open_device(loop.path(), options);
    ASSERT_TRUE(device) << describe(device.error());
    AlignedBuffer good = filled(4096, 1);
    ASSERT_TRUE((*device)->write_all(ByteOffset(0), good.span()));
    fill_up();
    const auto failed = (*device)->write_all(ByteOffset(kMiB), good.span());
    ASSERT_FALSE(failed) << "direct: " << direct;
    // The loop driver passes ENOSPC on or makes EIO of it, as the kernel version has it.
    EXPECT_TRUE(failed.error().code == Errc::media || failed.error().code == Errc::no_space)
        << describe(failed.error());
    // Old or new bytes, but those on the medium: not new ones that only the cache has.
    AlignedBuffer back = filled(4096, 9);
    ASSERT_TRUE((*device)->read_exact(ByteOffset(kMiB), back.span()));
    EXPECT_EQ(back.span()[0], std::byte{0}) << "direct: " << direct;
    EXPECT_TRUE((*device)->write_all(ByteOffset(0), good.span())) << "direct: " << direct;
    make_room();
  }
}

TEST_F(FailingMedia, AFailedReadIsAMediaErrorAndTheRestStaysReadable) {
  make_image(8 * kMiB);
  const LoopDevice loop(image_);
  for (const bool direct : {true, false}) {
    std::filesystem::resize_file(image_, 8 * kMiB);
    DeviceOptions options;
    options.try_direct = direct;
    auto device = open_device(loop.path(), options);
    ASSERT_TRUE(device) << describe(device.error());
    AlignedBuffer data = filled(kMiB, 2);
    ASSERT_TRUE((*device)->write_all(ByteOffset(0), data.span()));
    ASSERT_TRUE((*device)->sync());
    std::filesystem::resize_file(image_, 4 * kMiB);
    (*device)->drop_cache({ByteOffset(0), ByteOffset(8 * kMiB)});
    const auto failed = (*device)->read_exact(ByteOffset(5 * kMiB), data.first(4096));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::media) << describe(failed.error());
    ASSERT_TRUE((*device)->read_exact(ByteOffset(0), data.span()));
    EXPECT_EQ(data.span()[kMiB - 1], std::byte{2});
  }
}

// Where on its disk the last block of a file is.
std::uint64_t physical_of(const std::string& path, std::uint64_t offset) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  alignas(fiemap) std::byte space[sizeof(fiemap) + sizeof(fiemap_extent)] = {};
  auto* const map = reinterpret_cast<fiemap*>(space);
  map->fm_start = offset;
  map->fm_length = 1;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = 1;
  if (::ioctl(fd.get(), FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents != 1) return 0;
  const auto* const extent = reinterpret_cast<const fiemap_extent*>(space + sizeof(fiemap));
  return extent->fe_physical + (offset - extent->fe_logical);
}

TEST_F(FailingMedia, AFailedWriteOfTheLastPartialBlockIsReportedOnceAndCannotFailALaterSync) {
  make_image(32 * kMiB);
  LoopOptions options;
  options.sector_size = 4096;
  const LoopDevice loop(image_, options);
  ASSERT_EQ(run_program({"mkfs.ext4", "-q", "-F", "-O", "^has_journal", loop.path()}), 0);
  const TempDir mount_point;
  ASSERT_EQ(run_program({"mount", loop.path(), mount_point.path().string()}), 0);
  {
    const std::string path = mount_point / "disk";
    constexpr std::uint64_t kSize = 65536 + 512;
    std::ofstream(path) << std::string(kSize, 'x');
    ASSERT_EQ(run_program({"sync"}), 0);
    const std::uint64_t physical = physical_of(path, 65536);
    ASSERT_NE(physical, 0U);
    auto device = open_device(path);
    EXPECT_TRUE(device);
    if (device) {
      EXPECT_EQ((*device)->geometry().logical_block, 4096U);
      AlignedBuffer last = filled(512, 3);
      EXPECT_TRUE((*device)->write_all(ByteOffset(65536), last.span()));
      EXPECT_TRUE((*device)->sync());
      punch_image(physical, 4096);
      fill_up();
      const auto failed = (*device)->write_all(ByteOffset(65536), last.span());
      EXPECT_FALSE(failed) << "the device was to fail";
      // Every other block, and every sync, is sound: the caller moves the failed block elsewhere and goes on.
      AlignedBuffer good = filled(4096, 4);
      EXPECT_TRUE((*device)->write_all(ByteOffset(0), good.span()));
      const auto synced = (*device)->sync();
      EXPECT_TRUE(synced) << describe(synced.error());
      make_room();
      EXPECT_TRUE((*device)->write_all(ByteOffset(65536), last.span()));
      EXPECT_TRUE((*device)->sync());
    }
  }
  EXPECT_EQ(run_program({"umount", mount_point.path().string()}), 0);
}

}  // namespace
}  // namespace remapfs::testing
