// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "io/busy_users.hpp"
#include "io/device_identity.hpp"
#include "io/member_check.hpp"
#include "io/posix_device.hpp"
#include "support/fake_kernel_views.hpp"
#include "support/loop_device.hpp"
#include "support/mounted_filesystem.hpp"
#include "support/temp_dir.hpp"

// The checks of members against real loop devices, mounts and device nodes.

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;

class LoopMember : public ::testing::Test {
 protected:
  LoopMember() {
    for (const std::string& name : {image_, other_}) {
      std::ofstream{name};
      std::filesystem::resize_file(name, 32U << 20U);
    }
  }
  [[nodiscard]] static dev_t number_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_rdev : 0;
  }
  TempDir directory_;
  const std::string image_ = directory_ / "image";
  const std::string other_ = directory_ / "other";
};

TEST_F(LoopMember, AFileUnderALoopDeviceIsInUseThroughAnyPath) {
  std::filesystem::create_hard_link(image_, directory_ / "link");
  ASSERT_TRUE(check_unused(image_));
  LoopDevice loop(image_);
  for (const std::string& path : {image_, directory_ / "link"}) {
    const auto result = check_unused(path);
    ASSERT_FALSE(result) << path;
    EXPECT_EQ(result.error().code, Errc::busy);
    EXPECT_THAT(result.error().message, HasSubstr(loop.path()));
  }
  EXPECT_TRUE(check_unused(loop.path())) << "the loop device itself is free";
  const auto users = busy_users(image_);
  EXPECT_TRUE(std::any_of(users.begin(), users.end(), [&](const BusyUser& u) { return u.what == loop.path(); }));
  loop.detach();
  EXPECT_TRUE(check_unused(image_));
}

TEST_F(LoopMember, ALoopDeviceAndItsBackingFileAreTheSameBytes) {
  const LoopDevice one(image_);
  const LoopDevice two(other_);
  const LoopDevice again(image_);
  EXPECT_FALSE(check_no_overlap(one.path(), image_));
  EXPECT_FALSE(check_no_overlap(image_, one.path()));
  EXPECT_FALSE(check_no_overlap(one.path(), again.path()));
  EXPECT_FALSE(check_no_overlap(one.path(), one.path()));
  EXPECT_TRUE(check_no_overlap(one.path(), two.path()));
  EXPECT_TRUE(check_no_overlap(one.path(), other_));
  EXPECT_FALSE(check_unused(one.path())) << "another loop device is over the same file";
}

TEST_F(LoopMember, ALoopDeviceOverALoopDeviceIsSeenThrough) {
  const LoopDevice lower(image_);
  const LoopDevice upper(lower.path());
  EXPECT_FALSE(check_no_overlap(upper.path(), image_));
  EXPECT_FALSE(check_unused(lower.path()));
  EXPECT_FALSE(check_unused(image_));
  EXPECT_TRUE(check_unused(upper.path()));
}

TEST_F(LoopMember, AnotherNodeOfADeviceAndABindMountOfAFileAreTheSameBytes) {
  const LoopDevice loop(image_);
  const std::string node = directory_ / "node";
  ASSERT_EQ(::mknod(node.c_str(), S_IFBLK | 0600, number_of(loop.path())), 0);
  EXPECT_FALSE(check_no_overlap(loop.path(), node));

  const std::string bound = directory_ / "bound";
  std::ofstream{bound};
  ASSERT_EQ(::mount(other_.c_str(), bound.c_str(), nullptr, MS_BIND, nullptr), 0);
  const auto result = check_no_overlap(other_, bound);
  ::umount2(bound.c_str(), MNT_DETACH);
  EXPECT_FALSE(result);
}

TEST_F(LoopMember, AMountedDeviceIsRefusedByTheCheckAndByOpening) {
  const MountedFilesystem system("ext4", 32U << 20U);
  const auto result = check_unused(system.device());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::busy);
  EXPECT_THAT(result.error().message, HasSubstr("mounted on " + system.mount_point()));
  EXPECT_FALSE(check_unused(system.backing_file()));

  DeviceOptions options;
  options.lock_wait = std::chrono::milliseconds(0);
  const auto opened = open_device(system.device(), options);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::busy);
  EXPECT_THAT(opened.error().message, HasSubstr("mounted on " + system.mount_point()));

  const auto signature = check_no_signature(system.device());
  ASSERT_FALSE(signature);
  EXPECT_THAT(signature.error().message, HasSubstr("ext4"));
}

TEST_F(LoopMember, ADeviceWithAMountOfSeveralDevicesIsRefused) {
  // btrfs mounts have a device number of their own, which says nothing of the disk.
  const MountedFilesystem system("btrfs", 256U << 20U);
  const auto result = check_unused(system.device());
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("mounted on " + system.mount_point()));
}

TEST_F(LoopMember, UsersOfAMountedFileSystemAreNamedWithItsLoopDevices) {
  const MountedFilesystem system("ext4", 64U << 20U);
  std::ofstream{system / "inner"};
  std::filesystem::resize_file(system / "inner", 1U << 20U);
  const LoopDevice inner(system / "inner");
  const auto users = busy_users(system.mount_point());
  EXPECT_TRUE(std::any_of(users.begin(), users.end(), [&](const BusyUser& u) { return u.what == inner.path(); }));
}

TEST_F(LoopMember, TheSerialComesFromSysfsAndDecidesAtReopen) {
  const LoopDevice loop(image_);
  const std::string number = device_number_text(number_of(loop.path()));
  FakeKernelViews kernel;
  kernel.add_disk("sdq", number, 65536);
  kernel.set("sdq", "serial", "first");
  const auto identity = identify_device(loop.path(), kernel.views());
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->kind, DeviceIdentity::Kind::disk);
  EXPECT_EQ(identity->serial, "first");
  EXPECT_EQ(identity->size, ByteCount(32U << 20U));
  EXPECT_EQ(identity->place, number);

  DeviceOptions options;
  options.views = kernel.views();
  auto device = open_device(loop.path(), options);
  ASSERT_TRUE(device) << describe(device.error());
  EXPECT_TRUE((*device)->geometry().block_device);
  EXPECT_FALSE((*device)->geometry().punches_cheaply) << "sysfs does not say it does";
  kernel.set("sdq", "serial", "second");
  const auto reopened = (*device)->reopen();
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error().code, Errc::foreign);
  kernel.set("sdq", "serial", "first");
  kernel.set("sdq", "queue/write_zeroes_max_bytes", "4096");
  EXPECT_TRUE((*device)->reopen());
}

}  // namespace
}  // namespace remapfs::testing
