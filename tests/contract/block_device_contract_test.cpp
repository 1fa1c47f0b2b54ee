// SPDX-License-Identifier: Apache-2.0
#include "contract/block_device_contract.hpp"
#include "io/device_slice.hpp"
#include "support/fake_disk.hpp"

// Devices that need no privileges.

namespace remapfs::testing {
namespace {

class FakeSubject final : public DeviceSubject {
 public:
  FakeSubject(std::uint64_t size, std::uint32_t logical_block, bool punches) {
    DeviceGeometry geometry;
    geometry.logical_block = logical_block;
    geometry.physical_block = 4096;
    geometry.memory_alignment = logical_block;
    geometry.punches_cheaply = punches;
    disk_ = std::make_unique<FakeDisk>(ByteCount(size), geometry);
  }
  [[nodiscard]] BlockDevice& device() override { return *disk_; }

 private:
  std::unique_ptr<FakeDisk> disk_;
};

// A stretch of a disk, between bytes that must stay as they are.
class SliceSubject final : public DeviceSubject {
 public:
  SliceSubject(std::uint64_t begin, std::uint64_t size, std::uint64_t behind, std::uint32_t logical_block)
      : begin_(begin), size_(size) {
    DeviceGeometry geometry;
    geometry.logical_block = logical_block;
    geometry.memory_alignment = logical_block;
    geometry.physical_block = 4096;
    geometry.punches_cheaply = true;
    auto disk = std::make_unique<FakeDisk>(ByteCount(begin + size + behind), geometry);
    disk_ = disk.get();
    disk_->poke(ByteOffset(0), std::vector<std::byte>(begin, std::byte{0xA5}));
    disk_->poke(ByteOffset(begin + size), std::vector<std::byte>(behind, std::byte{0xA5}));
    slice_ = *DeviceSlice::make(std::move(disk), {ByteOffset(begin), ByteOffset(begin + size)});
  }
  ~SliceSubject() override {
    const auto untouched = [&](ByteRange range) {
      for (const std::byte byte : disk_->peek(range)) {
        if (byte != std::byte{0xA5}) return false;
      }
      return true;
    };
    EXPECT_TRUE(untouched({ByteOffset(0), ByteOffset(begin_)}));
    EXPECT_TRUE(untouched({ByteOffset(begin_ + size_), ByteOffset(disk_->geometry().size.value())}));
  }
  SliceSubject(const SliceSubject&) = delete;
  SliceSubject& operator=(const SliceSubject&) = delete;
  [[nodiscard]] BlockDevice& device() override { return *slice_; }

 private:
  std::uint64_t begin_;
  std::uint64_t size_;
  FakeDisk* disk_ = nullptr;
  std::unique_ptr<DeviceSlice> slice_;
};

DeviceCase slice(const std::string& name, std::uint64_t begin, std::uint64_t size, std::uint64_t behind,
                 std::uint32_t logical_block) {
  return {name, [=] { return std::make_unique<SliceSubject>(begin, size, behind, logical_block); }};
}

DeviceCase fake(const std::string& name, std::uint64_t size, std::uint32_t logical_block, bool punches) {
  return {name, [=] { return std::make_unique<FakeSubject>(size, logical_block, punches); }};
}

OpenableCase file_in(const std::string& name, const std::string& parent, bool try_direct) {
  return {name, [parent, try_direct] {
            DeviceOptions options;
            options.try_direct = try_direct;
            auto directory = std::make_shared<TempDir>(parent);
            const std::string path = *directory / "disk";
            return std::make_unique<OpenableFile>(path, options, std::move(directory));
          }};
}

std::string temporary() { return std::filesystem::temp_directory_path().string(); }

const OpenableCase kFile = file_in("File", temporary(), true);
const OpenableCase kBufferedFile = file_in("BufferedFile", temporary(), false);
const OpenableCase kTmpfsFile = file_in("TmpfsFile", "/dev/shm", true);

INSTANTIATE_TEST_SUITE_P(Devices, BlockDeviceContract,
                         ::testing::Values(fake("Fake512", 3U << 20U, 512, false),
                                           fake("Fake4096", 3U << 20U, 4096, false),
                                           fake("Fake4096OffGrid", (3U << 20U) + 1536, 4096, false),
                                           fake("FakePunching", (3U << 20U) + 512, 512, true),
                                           slice("SliceInside", 1U << 20U, 3U << 20U, 65536, 512),
                                           slice("SliceAtTheEnd", 8192, (3U << 20U) + 1536, 0, 4096),
                                           as_device_case(kFile), as_device_case(kBufferedFile),
                                           as_device_case(kTmpfsFile)),
                         case_name<DeviceCase>);
INSTANTIATE_TEST_SUITE_P(Files, OpenDeviceContract, ::testing::Values(kFile, kBufferedFile, kTmpfsFile),
                         case_name<OpenableCase>);

}  // namespace
}  // namespace remapfs::testing
