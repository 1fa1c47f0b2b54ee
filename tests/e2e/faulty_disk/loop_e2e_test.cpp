// SPDX-License-Identifier: Apache-2.0
// The faulty disk as a block device, through a loop device on top.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "mounted_disk.hpp"

namespace faulty_test {
namespace {

using testing::HasSubstr;

TEST(FaultyDiskLoop, MediaErrorsReachTheBlockDevice) {
  const MountedDisk disk;
  const LoopDevice loop(disk.file(), "--direct-io=on");
  disk.must("set", "sectors=1000,op=read sectors=2000,op=write sectors=3000,mode=until-written");
  const File file(loop.path(), O_RDWR | O_DIRECT);
  EXPECT_EQ(file.read_sectors(999, 1), 0);
  EXPECT_EQ(file.read_sectors(1000, 1), EIO);
  EXPECT_EQ(file.write_sectors(2000, 1, std::byte{1}), EIO);
  EXPECT_EQ(file.read_sectors(2000, 1), 0);
  EXPECT_EQ(file.read_sectors(3000, 1), EIO);
  EXPECT_EQ(file.write_sectors(3000, 1, std::byte{1}), 0);
  EXPECT_EQ(file.read_sectors(3000, 1), 0);
  EXPECT_EQ(::fsync(file.fd()), 0);
  EXPECT_GE(disk.stats()["io"]["flushes"], 1);
  EXPECT_EQ(disk.rules()[0]["failed"], 1);
  EXPECT_EQ(disk.rules()[1]["failed"], 1);
  EXPECT_EQ(disk.rules()[2]["failed"], 1);
  EXPECT_EQ(disk.rules()[2]["cured"], 1);
}

TEST(FaultyDiskLoop, FourKSectorsFailAsAWhole) {
  const MountedDisk disk("--sector-size 4096");
  const LoopDevice loop(disk.file(), "--direct-io=on --sector-size 4096");
  EXPECT_EQ(run("blockdev --getss " + loop.path()).out, "4096\n");
  disk.must("set", "sectors=1001,op=read");
  const File file(loop.path(), O_RDWR | O_DIRECT);
  EXPECT_EQ(file.read_sectors(1000, 8), EIO);
  EXPECT_EQ(file.read_sectors(1008, 8), 0);
  EXPECT_EQ(file.read_sectors(1000, 1), EINVAL);  // the loop device's own grid
}

TEST(FaultyDiskLoop, BusyDiskNamesTheLoopDevice) {
  const MountedDisk disk;
  {
    const LoopDevice loop(disk.file(), "--direct-io=on");
    const Ran busy = disk.ask("unmount");
    EXPECT_EQ(busy.code, 2);
    EXPECT_THAT(busy.err, HasSubstr(loop.path()));
    const File file(loop.path(), O_RDONLY | O_DIRECT);
    EXPECT_EQ(file.read_sectors(0, 8), 0);
  }
}

TEST(FaultyDiskLoop, GoneDiskFailsUnderTheBlockDevice) {
  const MountedDisk disk;
  const LoopDevice loop(disk.file(), "--direct-io=on");
  const File file(loop.path(), O_RDWR | O_DIRECT);
  disk.must("gone", "on");
  // Which errno comes through depends on the kernel's loop driver.
  EXPECT_THAT(file.read_sectors(0, 8), testing::AnyOf(EIO, ENODEV));
  EXPECT_THAT(file.write_sectors(0, 8, std::byte{1}), testing::AnyOf(EIO, ENODEV));
  disk.must("gone", "off");
  EXPECT_EQ(file.read_sectors(0, 8), 0);
}

TEST(FaultyDiskLoop, Ext4LivesOnItAndMeetsItsFaults) {
  for (const char* sector_size : {"512", "4096"}) {
    SCOPED_TRACE(sector_size);
    const MountedDisk disk(std::string("--sector-size ") + sector_size);
    const LoopDevice loop(disk.file(), std::string("--direct-io=on --sector-size ") + sector_size);
    const std::string fs = disk.directory() / "fs";
    ASSERT_EQ(run("mkdir " + fs + " && mkfs.ext4 -q -b 4096 -F " + loop.path()).code, 0);
    ASSERT_EQ(run("mount " + loop.path() + " " + fs).code, 0);
    ASSERT_EQ(run("seq 1 500000 >" + fs + "/numbers && sync " + fs + "/numbers").code, 0);
    EXPECT_EQ(run("seq 1 500000 | cmp - " + fs + "/numbers").code, 0);
    // The physical place of the first block of the file, in sectors.
    const Ran place =
        run("filefrag -v -b512 " + fs + "/numbers | awk '$1 == \"0:\" {sub(/\\.\\./, \"\", $4); print $4}'");
    const std::string sector = place.out.substr(0, place.out.find('\n'));
    ASSERT_FALSE(sector.empty()) << place.out << place.err;
    disk.must("set", "sectors=" + sector + ",op=read");
    EXPECT_EQ(run("umount " + fs + " && mount " + loop.path() + " " + fs + "; cat " + fs + "/numbers >/dev/null").code,
              1);
    EXPECT_GT(disk.rules()[0]["failed"], 0);
    disk.must("clear", "all");
    EXPECT_EQ(run("seq 1 500000 | cmp - " + fs + "/numbers").code, 0);
    ASSERT_EQ(run("umount " + fs).code, 0);
    EXPECT_EQ(run("e2fsck -fn " + loop.path()).code, 0);
  }
}

}  // namespace
}  // namespace faulty_test
