// SPDX-License-Identifier: Apache-2.0
#include "io/sysfs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "io/proc_files.hpp"
#include "support/fake_kernel_views.hpp"

namespace remapfs::testing {
namespace {

using ::testing::ElementsAre;

TEST(DeviceNumber, TextAndBack) {
  EXPECT_EQ(device_number_text(makedev(259, 1048575)), "259:1048575");
  EXPECT_EQ(parse_device_number("259:1048575"), makedev(259, 1048575));
  for (const char* bad : {"", "8", "8:", ":1", "8:1:2", "a:1", "8:-1", " 8:1"}) {
    EXPECT_EQ(parse_device_number(bad), std::nullopt) << bad;
  }
}

TEST(ProcFiles, SplitLeavesOutEmptyPartsAndOctalEscapesAreUndone) {
  EXPECT_THAT(split("  a b  c ", ' '), ElementsAre("a", "b", "c"));
  EXPECT_TRUE(split("", ' ').empty());
  EXPECT_EQ(unescape_octal("/mnt/with\\040space\\134x\\9"), "/mnt/with space\\x\\9");
  EXPECT_EQ(unescape_octal("\\04"), "\\04");
  EXPECT_EQ(parse_decimal("18446744073709551615"), 18446744073709551615ULL);
  for (const char* bad : {"", "-1", "+1", "1 ", "18446744073709551616", "0x1"}) {
    EXPECT_EQ(parse_decimal(bad), std::nullopt) << bad;
  }
}

TEST(SysfsBlockDevice, APartitionKnowsItsDiskAndItsPlaceOnIt) {
  FakeKernelViews kernel;
  kernel.add_disk("sda", "8:0", 1000);
  kernel.add_partition("sda", "sda1", "8:1", 64, 100);
  kernel.add_partition("sda", "sda2", "8:2", 200, 800);
  kernel.set("sda", "queue/logical_block_size", "4096");

  const auto part = SysfsBlockDevice::find(makedev(8, 2), kernel.views());
  ASSERT_TRUE(part);
  EXPECT_TRUE(part->is_partition());
  EXPECT_EQ(part->kernel_name(), "sda2");
  EXPECT_EQ(part->start(), 200U * 512);
  EXPECT_EQ(part->size(), 800U * 512);
  EXPECT_EQ(part->disk_number("queue/logical_block_size"), 4096U);
  EXPECT_TRUE(part->partitions().empty());
  const SysfsBlockDevice disk = part->disk();
  EXPECT_EQ(disk.number(), makedev(8, 0));
  EXPECT_FALSE(disk.is_partition());
  EXPECT_EQ(disk.start(), 0U);
  ASSERT_EQ(disk.partitions().size(), 2U);
  EXPECT_EQ(disk.partitions()[0].number(), makedev(8, 1));
  EXPECT_EQ(disk.partitions()[1].start(), 200U * 512);
  EXPECT_FALSE(SysfsBlockDevice::find(makedev(9, 9), kernel.views()));
}

TEST(SysfsBlockDevice, FindsWwnAndSerialWhereEachKindOfDiskKeepsThem) {
  FakeKernelViews kernel;
  kernel.add_disk("sda", "8:0", 1000);
  kernel.add_partition("sda", "sda1", "8:1", 64, 100);
  kernel.set("sda", "device/wwid", "naa.5000c500a1b2c3d4");
  kernel.write("sys/devices/sda/device/vpd_pg80", std::string("\0\x80\0\x08", 4) + "  ZA1234");
  kernel.add_disk("nvme0n1", "259:0", 1000);
  kernel.set("nvme0n1", "wwid", "eui.0025385b71b12345");
  kernel.set("nvme0n1", "device/serial", "S4EVNX0N   ");
  kernel.add_disk("vda", "254:0", 1000);
  kernel.set("vda", "serial", "disk-7");
  kernel.add_disk("loop0", "7:0", 1000);

  const auto check = [&](unsigned major, unsigned minor, const std::string& wwn, const std::string& serial) {
    const auto device = SysfsBlockDevice::find(makedev(major, minor), kernel.views());
    ASSERT_TRUE(device);
    EXPECT_EQ(device->wwn(), wwn);
    EXPECT_EQ(device->serial(), serial);
  };
  check(8, 0, "naa.5000c500a1b2c3d4", "ZA1234");
  check(8, 1, "naa.5000c500a1b2c3d4", "ZA1234");
  check(259, 0, "eui.0025385b71b12345", "S4EVNX0N");
  check(254, 0, "", "disk-7");
  check(7, 0, "", "");
}

TEST(SysfsBlockDevice, ALoopDeviceNamesItsBackingFileAlsoWhenThatIsDeleted) {
  FakeKernelViews kernel;
  kernel.add_disk("loop0", "7:0", 0);
  EXPECT_FALSE(SysfsBlockDevice::find(makedev(7, 0), kernel.views())->loop_backing());
  kernel.set("loop0", "loop/backing_file", "/images/a disk (deleted)");
  kernel.set("loop0", "loop/offset", "1048576");
  kernel.set("loop0", "loop/sizelimit", "4096");
  const auto backing = SysfsBlockDevice::find(makedev(7, 0), kernel.views())->loop_backing();
  ASSERT_TRUE(backing);
  EXPECT_EQ(backing->path, "/images/a disk");
  EXPECT_EQ(backing->offset, 1048576U);
  EXPECT_EQ(backing->limit, 4096U);
}

}  // namespace
}  // namespace remapfs::testing
