// SPDX-License-Identifier: Apache-2.0
#include "cli/target.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "unit/cli/test_world.hpp"

namespace remapfs::cli {
namespace {

namespace fs = std::filesystem;
using testing::TestWorld;

// A map, a directory mount point with a file `disk`, and a mount table that says one is mounted at the other. The table
// is all that makes it a mount, so that a real one is not needed.
class TargetTest : public ::testing::Test {
 protected:
  TargetTest() {
    std::ofstream(map_) << "map";
    fs::create_directories(mount_);
    std::ofstream(mount_ + "/disk") << "disk";
    std::ofstream(single_) << "";
    test_.set_mountinfo("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + line(mount_, "fuse.remapfs", map_, 44) +
                        line(test_.dir / "elsewhere", "fuse.other", map_, 45));
  }

  static std::string line(const std::string& mount, const std::string& type, const std::string& source, int minor) {
    return "99 22 0:" + std::to_string(minor) + " / " + escape(mount) + " rw,nosuid shared:7 - " + type + " " +
           escape(source) + " rw,user_id=1234,group_id=0\n";
  }
  static std::string escape(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == ' ' ? std::string("\\040") : std::string(1, c);
    return out;
  }

  void expect_mounted(const std::string& text) {
    const auto target = resolve_target(text, test_.world);
    ASSERT_TRUE(target) << describe(target.error());
    EXPECT_EQ(target->map_path, map_);
    ASSERT_TRUE(target->mount);
    EXPECT_EQ(target->mount->mount_point, mount_);
    EXPECT_EQ(target->mount->owner, 1234U);
    EXPECT_EQ(target->mount->device, "0:44");
  }

  TestWorld test_;
  std::string base_ = fs::canonical(test_.dir.path()).string();
  std::string map_ = base_ + "/a map";
  std::string mount_ = base_ + "/mnt point";
  std::string single_ = base_ + "/single";
};

TEST_F(TargetTest, MapMountPointAndDiskAllMeanTheVolume) {
  expect_mounted(map_);
  expect_mounted(mount_);
  expect_mounted(mount_ + "/");
  expect_mounted(mount_ + "/disk");
  expect_mounted(mount_ + "/../mnt point/./disk");
}

TEST_F(TargetTest, SymbolicLinksToAnyOfThemWork) {
  for (const std::string& to : {map_, mount_, mount_ + "/disk"}) {
    const std::string link = base_ + "/link";
    fs::create_symlink(to, link);
    expect_mounted(link);
    fs::remove(link);
  }
}

TEST_F(TargetTest, SingleFileMountPointMeansTheVolume) {
  test_.set_mountinfo(line(single_, "fuse.remapfs", map_, 50));
  const auto target = resolve_target(single_, test_.world);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->map_path, map_);
  EXPECT_TRUE(target->mount);
}

TEST_F(TargetTest, MountOfADeadDaemonIsFoundWithoutAskingIt) {
  // A mount point that cannot be looked at answers like one that is not there.
  fs::remove_all(mount_);
  expect_mounted(mount_);
  expect_mounted(mount_ + "/disk");
}

TEST_F(TargetTest, MapThatIsNotMountedHasNoMount) {
  std::ofstream(base_ + "/other") << "x";
  const auto target = resolve_target(base_ + "/other", test_.world);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->map_path, base_ + "/other");
  EXPECT_FALSE(target->mount);
}

TEST_F(TargetTest, FileOfAnotherKindOfMountIsNotOurs) {
  fs::create_directories(base_ + "/elsewhere");
  std::ofstream(base_ + "/elsewhere/disk") << "x";
  const auto target = resolve_target(base_ + "/elsewhere/disk", test_.world);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->map_path, base_ + "/elsewhere/disk");
}

TEST_F(TargetTest, TheMountOnTopWins) {
  const std::string second = base_ + "/second map";
  test_.set_mountinfo(line(mount_, "fuse.remapfs", map_, 44) + line(mount_, "fuse.remapfs", second, 45));
  EXPECT_EQ(resolve_target(mount_, test_.world)->map_path, second);
}

TEST_F(TargetTest, WhatIsNeitherIsAnError) {
  fs::create_directories(base_ + "/directory");
  EXPECT_EQ(resolve_target(base_ + "/directory", test_.world).error().code, Errc::invalid);
  EXPECT_EQ(resolve_target(base_ + "/nothing", test_.world).error().code, Errc::not_found);
  EXPECT_EQ(resolve_target(base_ + "/nothing/at/all", test_.world).error().code, Errc::not_found);
  EXPECT_EQ(resolve_target("", test_.world).error().code, Errc::invalid);
  EXPECT_EQ(resolve_target("/dev/null", test_.world).error().code, Errc::invalid);
}

TEST(MountEntry, LinesThatAreNoneAreNothing) {
  for (const char* line : {"", "1 2 3", "1 2 0:1 / /m rw", "1 2 0:1 / /m rw -", "1 2 0:1 / /m rw - type"}) {
    EXPECT_FALSE(parse_mount_entry(line)) << line;
  }
}

TEST(MountEntry, OptionalFieldsMayBeMissingOrMany) {
  EXPECT_EQ(parse_mount_entry("1 2 0:9 / /m rw - fuse.remapfs /map rw")->source, "/map");
  EXPECT_EQ(parse_mount_entry("1 2 0:9 / /m rw a:1 b:2 c - fuse.remapfs /map rw")->type, "fuse.remapfs");
}

}  // namespace
}  // namespace remapfs::cli
