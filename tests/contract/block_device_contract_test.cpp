// SPDX-License-Identifier: Apache-2.0
#include "contract/block_device_contract.hpp"
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
                                           fake("FakePunching", (3U << 20U) + 512, 512, true), as_device_case(kFile),
                                           as_device_case(kBufferedFile), as_device_case(kTmpfsFile)),
                         case_name<DeviceCase>);
INSTANTIATE_TEST_SUITE_P(Files, OpenDeviceContract, ::testing::Values(kFile, kBufferedFile, kTmpfsFile),
                         case_name<OpenableCase>);

}  // namespace
}  // namespace remapfs::testing
