// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e/cli/workspace.hpp"

// As mount(8), mount.fuse3 and fstab call the program.

namespace remapfs::e2e {
namespace {

class CliHelperForm : public Workspace {
 protected:
  void SetUp() override {
    create();
    // mount.fuse3 finds the program by its name, and mount(8) does not pass our PATH on. Mounts are private here.
    const std::string bin = dir_ / "bin";
    std::filesystem::create_directory(bin);
    std::filesystem::create_symlink(REMAPFS_PROGRAM, bin + "/remapfs");
    ASSERT_EQ(::mount(bin.c_str(), kInstalled, nullptr, MS_BIND, nullptr), 0);
  }
  void TearDown() override { ::umount2(kInstalled, MNT_DETACH); }
  static constexpr const char* kInstalled = "/usr/local/bin";
};

TEST_F(CliHelperForm, ArgumentsOfMountFuse) {
  const Ran ran = remapfs({map_, mnt_, "-o", "rw,dev,suid,nofail,x-systemd.automount"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_bytes(disk_, 0, 512), known_bytes(0, 512));
  unmount();
  ASSERT_EQ(remapfs({map_, mnt_, "-o", "ro", "-s"}).exit_code, 0);
  EXPECT_EQ(status(map_)["read_only"], true);
}

TEST_F(CliHelperForm, RelativeNamesWork) {
  const Ran ran = remapfs({"volume.map", "mnt", "-o", "rw"}, {.directory = dir_.path()});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(status(map_)["mountpoint"], mnt_);
  EXPECT_EQ(remapfs({"status", "mnt/disk"}, {.directory = dir_.path()}).exit_code, 0);
  EXPECT_EQ(remapfs({"unmount", "mnt"}, {.directory = dir_.path()}).exit_code, 0);
}

TEST_F(CliHelperForm, MountWithTheType) {
  Ran ran = run_program({"mount", "-t", "fuse.remapfs", "-o", "on-loss=wait,noatime", map_, mnt_});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_bytes(disk_, 0, 512), known_bytes(0, 512));
  ran = run_program({"umount", mnt_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
}

TEST_F(CliHelperForm, LineOfFstab) {
  const std::string table = dir_ / "fstab";
  write_bytes(table, 0, map_ + " " + mnt_ + " fuse.remapfs ro,noauto,nofail,_netdev,x-systemd.requires=x 0 0\n");
  const Ran ran = run_program({"mount", "-T", table, mnt_});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(status(map_)["read_only"], true);
  EXPECT_EQ(read_bytes(disk_, 0, 512), known_bytes(0, 512));
}

TEST_F(CliHelperForm, FailureReachesMountAsItsExitCode) {
  ASSERT_EQ(::rename(primary_.c_str(), (dir_ / "away").c_str()), 0);
  const Ran ran = run_program({"mount", "-t", "fuse.remapfs", map_, mnt_});
  EXPECT_EQ(ran.exit_code, 32);
  EXPECT_THAT(ran.err, ::testing::HasSubstr(primary_));
}

}  // namespace
}  // namespace remapfs::e2e
