// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e/cli/workspace.hpp"
#include "support/loop_device.hpp"

// What `create` makes, and what it refuses: nothing may be left behind or changed then.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;

class CliCreate : public Workspace {
 protected:
  std::vector<std::string> command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args{"create", map_, "--primary", primary_, "--spare", spare_};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  // The arguments are refused with this in the message, and nothing is different afterwards.
  void expect_refused(const std::vector<std::string>& args, int exit_code, const std::string& part) {
    const std::string before = fingerprint();
    expect_one_error(remapfs(args), exit_code, part);
    EXPECT_EQ(fingerprint(), before);
  }
};

TEST_F(CliCreate, SpareIsFullyAllocatedAndEverythingIsPrivate) {
  const Ran ran = remapfs(command({"--spare-size", "2M"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("created " + map_));
  EXPECT_THAT(ran.out, HasSubstr("slots"));
  for (const std::string& path : {map_, spare_}) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U) << path;
  }
  struct stat info {};
  ASSERT_EQ(::stat(spare_.c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 2 << 20) << "a sparse spare fails when it is needed";
  EXPECT_EQ(read_bytes(primary_, 0, kPrimaryBytes), known_bytes(0, kPrimaryBytes)) << "the primary is not touched";
}

TEST_F(CliCreate, ExistingSpareIsUsedWhole) {
  ASSERT_EQ(::truncate(spare_.c_str(), 0), -1);
  write_bytes(spare_, (4 << 20U) - 1, "x");
  ASSERT_EQ(remapfs(command()).exit_code, 0);
  EXPECT_GT(status(map_)["spare"]["slots_total"].get<int>(), 700);
}

TEST_F(CliCreate, EveryBlockSizeWorks) {
  for (const char* size : {"512", "1024", "2K", "4096", "8K", "16K", "32768"}) {
    ASSERT_EQ(remapfs(command({"--spare-size", "2M", "--block-size", size})).exit_code, 0) << size;
    ASSERT_EQ(remapfs({"add", map_, "1"}).exit_code, 0) << size;
    ASSERT_EQ(remapfs({"check", map_}).exit_code, 0) << size;
    ASSERT_EQ(remapfs({"destroy", map_}).exit_code, 0) << size;
  }
}

TEST_F(CliCreate, NewSpareNeedsItsSize) { expect_refused(command(), 1, "--spare-size"); }

TEST_F(CliCreate, SpareTooSmallIsRefused) {
  expect_refused(command({"--spare-size", "64K"}), 2, "too small");
  write_bytes(spare_, 0, std::string(65536, '\0'));
  expect_refused(command(), 2, "too small");
}

TEST_F(CliCreate, SpareThatDoesNotFitItsFileSystemIsRefusedAndRemoved) {
  expect_refused(command({"--spare-size", "8000T"}), 2, "spare");
}

TEST_F(CliCreate, ExistingSpareOfAnotherSizeIsNotResized) {
  write_bytes(spare_, (3 << 20U) - 1, "x");
  expect_refused(command({"--spare-size", "2M"}), 2, "exists");
}

TEST_F(CliCreate, ExistingMapIsNeverOverwritten) {
  create();
  const std::string other = dir_ / "other";
  expect_refused({"create", map_, "--primary", primary_, "--spare", other, "--spare-size", "2M", "--force"}, 2, map_);
  EXPECT_EQ(::access(other.c_str(), F_OK), -1);
  write_bytes(dir_ / "text", 0, "precious");
  expect_refused({"create", dir_ / "text", "--primary", primary_, "--spare", other, "--spare-size", "2M", "--force"}, 2,
                 "exists");
}

TEST_F(CliCreate, SpareOnThePrimarysOwnPathIsRefused) {
  std::filesystem::create_symlink(primary_, dir_ / "link");
  std::filesystem::create_hard_link(primary_, dir_ / "hard");
  for (const std::string& path : {primary_, dir_ / "link", dir_ / "hard"}) {
    expect_refused({"create", map_, "--primary", primary_, "--spare", path}, 2, "primary");
    expect_refused({"create", map_, "--primary", primary_, "--spare", path, "--force"}, 2, "primary");
  }
}

TEST_F(CliCreate, MapOnAMembersPathIsRefused) {
  expect_refused({"create", primary_, "--primary", primary_, "--spare", spare_, "--spare-size", "2M"}, 1, primary_);
  expect_refused({"create", spare_, "--primary", primary_, "--spare", spare_, "--spare-size", "2M"}, 1, spare_);
}

TEST_F(CliCreate, SpareWithAFileSystemIsRefusedUnlessForced) {
  write_bytes(spare_, (8 << 20U) - 1, std::string(1, '\0'));
  ASSERT_EQ(run_program({"mkfs.ext4", "-q", "-F", spare_}).exit_code, 0);
  expect_refused(command(), 2, "ext4");
  EXPECT_EQ(remapfs(command({"--force"})).exit_code, 0);
  mount();
}

TEST_F(CliCreate, SpareOfAnotherVolumeIsRefusedUnlessForced) {
  create();
  const std::string other = dir_ / "other.map";
  expect_refused({"create", other, "--primary", primary_, "--spare", spare_}, 2, "another volume");
  EXPECT_EQ(remapfs({"create", other, "--primary", primary_, "--spare", spare_, "--force"}).exit_code, 0);
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, spare_);
}

TEST_F(CliCreate, MembersInUseAreRefused) {
  create();
  mount();
  const std::string other = dir_ / "other.map";
  const std::string image = dir_ / "image";
  write_bytes(image, (4 << 20U) - 1, "x");
  for (const char* force : {"", "--force"}) {
    std::vector<std::string> as_primary{"create", other, "--primary", primary_, "--spare", image};
    std::vector<std::string> as_spare{"create", other, "--primary", image, "--spare", spare_};
    if (*force != '\0') as_primary.emplace_back(force);
    if (*force != '\0') as_spare.emplace_back(force);
    expect_one_error(remapfs(as_primary), 2, primary_);
    expect_one_error(remapfs(as_spare), 2, spare_);
  }
  EXPECT_EQ(::access(other.c_str(), F_OK), -1);
}

TEST_F(CliCreate, FileUnderALoopDeviceIsRefused) {
  const remapfs::testing::LoopDevice loop(primary_);
  expect_refused(command({"--spare-size", "2M"}), 2, "/dev/loop");
}

TEST_F(CliCreate, BlockSizeBelowTheDisksOwnIsRefused) {
  const remapfs::testing::LoopDevice loop(primary_, {.sector_size = 4096});
  expect_refused(
      {"create", map_, "--primary", loop.path(), "--spare", spare_, "--spare-size", "2M", "--block-size", "512"}, 2,
      "--block-size 4096");
  EXPECT_EQ(remapfs({"create", map_, "--primary", loop.path(), "--spare", spare_, "--spare-size", "2M"}).exit_code, 0);
  mount();
  EXPECT_EQ(read_bytes(disk_, 512, 512), known_bytes(512, 512));
  unmount();
}

TEST_F(CliCreate, MembersThatAreNotThereAreErrors) {
  expect_refused({"create", map_, "--primary", dir_ / "none", "--spare", spare_, "--spare-size", "2M"}, 2, "none");
  expect_refused({"create", dir_ / "no/map", "--primary", primary_, "--spare", spare_, "--spare-size", "2M"}, 2, "no");
  expect_refused({"create", map_, "--primary", primary_, "--spare", dir_ / "no/spare", "--spare-size", "2M"}, 2, "no");
  expect_refused({"create", map_, "--primary", dir_.path(), "--spare", spare_, "--spare-size", "2M"}, 2,
                 dir_.path().string());
  expect_refused({"create", map_, "--primary", "/dev/null", "--spare", spare_, "--spare-size", "2M"}, 2, "/dev/null");
}

}  // namespace
}  // namespace remapfs::e2e
