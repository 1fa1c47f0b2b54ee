// SPDX-License-Identifier: Apache-2.0
#include "contract/block_device_contract.hpp"

// Devices that need root: loop devices, and files on file systems with sectors of 4096 bytes.

namespace remapfs::testing {
namespace {

OpenableCase loop(const std::string& name, std::uint32_t sector_size) {
  return {name, [sector_size] {
            LoopOptions options;
            options.sector_size = sector_size;
            options.direct_io = true;
            return std::make_unique<OpenableLoop>(options);
          }};
}

// A file whose last bytes are less than a logical block.
OpenableCase file_on_4kn(const std::string& name, const std::string& type, std::uint64_t size) {
  return {name, [type, size] {
            LoopOptions options;
            options.sector_size = 4096;
            options.direct_io = true;
            auto system = std::make_shared<MountedFilesystem>(type, size, options);
            const std::string path = *system / "disk";
            return std::make_unique<OpenableFile>(path, DeviceOptions{}, std::move(system));
          }};
}

const OpenableCase kLoop512 = loop("Loop512", 512);
const OpenableCase kLoop4Kn = loop("Loop4Kn", 4096);
const OpenableCase kExt4 = file_on_4kn("Ext4On4Kn", "ext4", 64U << 20U);
const OpenableCase kXfs = file_on_4kn("XfsOn4Kn", "xfs", 320U << 20U);
const OpenableCase kBtrfs = file_on_4kn("Btrfs", "btrfs", 256U << 20U);

INSTANTIATE_TEST_SUITE_P(Devices, BlockDeviceContract,
                         ::testing::Values(as_device_case(kLoop512), as_device_case(kLoop4Kn), as_device_case(kExt4),
                                           as_device_case(kXfs), as_device_case(kBtrfs)),
                         case_name<DeviceCase>);
INSTANTIATE_TEST_SUITE_P(Files, OpenDeviceContract, ::testing::Values(kLoop512, kLoop4Kn, kExt4, kXfs, kBtrfs),
                         case_name<OpenableCase>);

}  // namespace
}  // namespace remapfs::testing
