// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/posix_device.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "support/random.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;

class OpenDevice : public ::testing::Test {
 protected:
  void make_file(std::uint64_t size) {
    std::vector<char> bytes(size);
    Random(7).fill(std::as_writable_bytes(std::span(bytes)));
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(size));
  }
  [[nodiscard]] std::string contents() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TempDir directory_;
  const std::string path_ = directory_ / "disk";
};

TEST_F(OpenDevice, ErrorsSayWhatAndWhere) {
  const auto absent = open_device(path_);
  EXPECT_EQ(absent.error().code, Errc::not_found);
  EXPECT_THAT(absent.error().message, HasSubstr(path_));
  EXPECT_EQ(open_device(directory_.path().string()).error().code, Errc::invalid);
  ASSERT_EQ(::mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_device(directory_ / "fifo").error().code, Errc::invalid);
  EXPECT_EQ(open_device("/dev/null").error().code, Errc::invalid);
  make_file(511);
  const auto small = open_device(path_);
  EXPECT_EQ(small.error().code, Errc::invalid);
  EXPECT_THAT(small.error().message, HasSubstr("smaller than a sector"));
  for (const auto& error : {absent.error(), small.error()}) {
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
  }
}

TEST_F(OpenDevice, OneSectorIsADevice) {
  make_file(1023);
  const auto device = open_device(path_);
  ASSERT_TRUE(device) << describe(device.error());
  EXPECT_EQ((*device)->geometry().size, ByteCount(512));
}

TEST_F(OpenDevice, SeekingEndsWithTheLastWholeSectorNotWithTheFile) {
  make_file(8192 + 100);
  const auto device = open_device(path_);
  ASSERT_TRUE(device);
  EXPECT_EQ((*device)->seek_hole(ByteOffset(0)).value(), ByteOffset(8192));
  EXPECT_EQ((*device)->seek_data(ByteOffset(8191)).value(), ByteOffset(8191));
  EXPECT_EQ((*device)->seek_data(ByteOffset(8192)).error().code, Errc::not_found);
}

TEST_F(OpenDevice, OpeningAndProbingChangesNoByteNorSizeNorAllocation) {
  make_file((1U << 20U) + 700);
  // Space set aside beyond the end is the owner's business.
  const UniqueFd fd(::open(path_.c_str(), O_RDWR));
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 2U << 20U, 8U << 20U), 0);
  ASSERT_EQ(::fsync(fd.get()), 0);
  struct stat before {};
  ASSERT_EQ(::fstat(fd.get(), &before), 0);
  const std::string was = contents();
  for (const bool direct : {true, false}) {
    DeviceOptions options;
    options.try_direct = direct;
    ASSERT_TRUE(open_device(path_, options));
  }
  struct stat after {};
  ASSERT_EQ(::fstat(fd.get(), &after), 0);
  EXPECT_EQ(after.st_size, before.st_size);
  EXPECT_EQ(after.st_blocks, before.st_blocks);
  EXPECT_TRUE(contents() == was);
}

TEST_F(OpenDevice, TheBytesAfterTheLastWholeSectorAreNeverTouched) {
  make_file(8192 + 100);
  const std::string was = contents();
  auto device = *open_device(path_);
  ASSERT_TRUE(device->zero_range({ByteOffset(0), ByteOffset(8192)}));
  ASSERT_TRUE(device->sync());
  device.reset();
  const std::string now = contents();
  ASSERT_EQ(now.size(), was.size());
  EXPECT_EQ(now.substr(8192), was.substr(8192));
  EXPECT_EQ(now.substr(0, 8192), std::string(8192, '\0'));
}

TEST_F(OpenDevice, DiscardsOffThePageGridLeaveTheirNeighboursAlone) {
  make_file(1U << 16U);
  for (const bool punch : {false, true}) {
    std::string model = contents();
    auto device = *open_device(path_);
    if (punch && !device->geometry().punches_cheaply) continue;
    const std::uint64_t grid = device->geometry().logical_block;
    for (const ByteRange range : {ByteRange{ByteOffset(grid), ByteOffset(2 * grid)},
                                  ByteRange{ByteOffset(8192 - grid), ByteOffset(8192 + grid)},
                                  ByteRange{ByteOffset(16384 - grid), ByteOffset(32768 + grid)},
                                  ByteRange{ByteOffset(40960), ByteOffset(49152)}}) {
      ASSERT_TRUE(punch ? device->punch_hole(range) : device->zero_range(range));
      std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(range.begin.value()), range.size().value(), '\0');
    }
    device.reset();
    EXPECT_TRUE(contents() == model) << punch;
  }
}

TEST_F(OpenDevice, PunchingGivesSpaceBackAndZeroingKeepsIt) {
  make_file(1U << 20U);
  auto device = *open_device(path_);
  ASSERT_TRUE(device->sync());
  const auto blocks = [this] {
    struct stat status {};
    EXPECT_EQ(::stat(path_.c_str(), &status), 0);
    return status.st_blocks;
  };
  const auto full = blocks();
  ASSERT_TRUE(device->zero_range({ByteOffset(0), ByteOffset(1U << 20U)}));
  EXPECT_GE(blocks(), full);
  if (device->geometry().punches_cheaply) {
    ASSERT_TRUE(device->punch_hole({ByteOffset(0), ByteOffset(1U << 20U)}));
    EXPECT_LT(blocks(), full);
  }
}

TEST_F(OpenDevice, ReopenSaysWhenTheFileIsGoneAndWorksWhenItIsBack) {
  make_file(1U << 16U);
  auto device = *open_device(path_);
  const int handle = device->native_handle();
  AlignedBuffer buffer = *AlignedBuffer::allocate(4096);
  std::filesystem::rename(path_, path_ + ".away");
  const auto gone = device->reopen();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::device_gone);
  EXPECT_EQ(device->read_exact(ByteOffset(0), buffer.span()).error().code, Errc::device_gone);
  EXPECT_EQ(device->write_all(ByteOffset(0), buffer.span()).error().code, Errc::device_gone);
  EXPECT_EQ(device->sync().error().code, Errc::device_gone);
  EXPECT_EQ(::pwrite(handle, buffer.data(), 4096, 0), -1) << "an engine must not reach anything either";
  std::filesystem::rename(path_ + ".away", path_);
  ASSERT_TRUE(device->reopen());
  EXPECT_EQ(device->native_handle(), handle);
  EXPECT_TRUE(device->read_exact(ByteOffset(0), buffer.span()));
  EXPECT_EQ(std::memcmp(buffer.data(), contents().data(), 4096), 0);
}

TEST_F(OpenDevice, ReopenRefusesAFileOfAnotherSize) {
  make_file(1U << 16U);
  auto device = *open_device(path_);
  std::filesystem::resize_file(path_, 1U << 17U);
  const auto reopened = device->reopen();
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error().code, Errc::foreign);
  EXPECT_THAT(reopened.error().message, HasSubstr("65536"));
}

TEST_F(OpenDevice, BufferedDevicesTakeAnyMemoryAndWriteThrough) {
  make_file(1U << 16U);
  DeviceOptions options;
  options.try_direct = false;
  auto device = *open_device(path_, options);
  EXPECT_FALSE(device->geometry().direct);
  EXPECT_THAT(warning_for(*device), HasSubstr(path_));
  EXPECT_NE(::fcntl(device->native_handle(), F_GETFL) & O_DSYNC, 0);
  AlignedBuffer buffer = *AlignedBuffer::allocate(4096);
  ASSERT_TRUE(device->write_all(ByteOffset(512), buffer.subspan(1, 1024)));
  ASSERT_TRUE(device->read_exact(ByteOffset(512), buffer.subspan(3, 512)));
}

TEST_F(OpenDevice, DroppingTheCacheOfABufferedDeviceEmptiesIt) {
  make_file(1U << 20U);
  DeviceOptions options;
  options.try_direct = false;
  auto device = *open_device(path_, options);
  AlignedBuffer buffer = *AlignedBuffer::allocate(1U << 20U);
  ASSERT_TRUE(device->sync());
  ASSERT_TRUE(device->read_exact(ByteOffset(0), buffer.span()));
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY));
  // Only cached pages can be read without waiting.
  const auto is_cached = [&](std::uint64_t at) {
    iovec vector{buffer.data(), 4096};
    return ::preadv2(fd.get(), &vector, 1, static_cast<off_t>(at), RWF_NOWAIT) == 4096;
  };
  if (!is_cached(8192)) GTEST_SKIP() << "this file system does not say what is cached";
  // Looking must not read it in again.
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
  device->drop_cache({ByteOffset(8192 + 512), ByteOffset(8192 + 1024)});
  EXPECT_FALSE(is_cached(8192));
}

}  // namespace
}  // namespace remapfs::testing
