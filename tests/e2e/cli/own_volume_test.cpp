// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <filesystem>

#include "e2e/cli/workspace.hpp"

// What a volume needs must not lie on the file system above it: reading it would wait for itself.

namespace remapfs::e2e {
namespace {

class CliOwnVolume : public Workspace {
 protected:
  // The volume attached, with ext4 on its loop device.
  void SetUp() override {
    create();
    const Ran attached = remapfs({"attach", map_});
    ASSERT_EQ(attached.exit_code, 0) << attached.err;
    const std::string loop = attached.out.substr(0, attached.out.find('\n'));
    ASSERT_EQ(run_program({"mkfs.ext4", "-q", loop}).exit_code, 0);
    ASSERT_EQ(run_program({"mount", loop, mnt_}).exit_code, 0);
  }
  void TearDown() override {
    if (::testing::Test::HasFatalFailure()) return;
    EXPECT_EQ(run_program({"umount", mnt_}).exit_code, 0);
    EXPECT_EQ(remapfs({"detach", map_}).exit_code, 0);
    EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
  }
  const std::string elsewhere_ = dir_ / "elsewhere";
};

TEST_F(CliOwnVolume, ItsMapCannotBeMountedFromThere) {
  const std::string copy = mnt_ + "/copy.map";
  ASSERT_EQ(remapfs({"backup", map_, copy}).exit_code, 0) << "a backup may lie anywhere";
  std::filesystem::create_directory(elsewhere_);
  expect_one_error(remapfs({"mount", copy, elsewhere_}), 32, "in use");
  expect_one_error(remapfs({"attach", copy}), 2, "another copy of this map is mounted");
  expect_one_error(remapfs({"repair", copy}), 2, "in use");
  EXPECT_EQ(status(map_)["state"], "healthy");
}

TEST_F(CliOwnVolume, NeitherMemberOfItServesAnotherVolumeThere) {
  const std::string other = mnt_ + "/other.map";
  write_bytes(mnt_ + "/image", 0, known_bytes(0, 1 << 20));
  expect_one_error(remapfs({"create", other, "--primary", primary_, "--spare", mnt_ + "/spare", "--spare-size", "2M"}),
                   2, "in use");
  expect_one_error(remapfs({"create", other, "--primary", mnt_ + "/image", "--spare", spare_, "--force"}), 2, "in use");
  EXPECT_FALSE(std::filesystem::exists(other));
  EXPECT_FALSE(std::filesystem::exists(mnt_ + "/spare")) << "nothing is left behind";
}

// Volumes may be stacked: the upper one is an ordinary user of the lower one.
TEST_F(CliOwnVolume, AnotherVolumeMayLieThere) {
  const std::string upper = mnt_ + "/upper";
  write_bytes(upper, 0, known_bytes(0, 1 << 20));
  ASSERT_EQ(remapfs({"create", upper + ".map", "--primary", upper, "--spare", upper + ".spare", "--spare-size", "2M"})
                .exit_code,
            0);
  std::filesystem::create_directory(elsewhere_);
  ASSERT_EQ(remapfs({"mount", upper + ".map", elsewhere_}).exit_code, 0);
  write_bytes(elsewhere_ + "/disk", 4096, "stacked");
  EXPECT_EQ(run_program({"umount", mnt_}).exit_code, 32) << "the upper volume is a user of it";
  ASSERT_EQ(remapfs({"unmount", elsewhere_}).exit_code, 0);
  EXPECT_EQ(read_bytes(upper, 4096, 7), "stacked");
}

}  // namespace
}  // namespace remapfs::e2e
