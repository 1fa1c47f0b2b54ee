// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e/cli/workspace.hpp"

// A user without privileges, through fusermount3.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

class CliUser : public Workspace {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
    // Where the program was built may be closed to others.
    program_ = dir_ / "remapfs";
    ASSERT_EQ(run_program({"cp", REMAPFS_PROGRAM, program_}).exit_code, 0);
    runtime_ = dir_ / "runtime";
    std::filesystem::create_directory(runtime_);
    ASSERT_EQ(::chmod(program_.c_str(), 0755), 0);
    for (const std::string& path : {dir_.path().string(), primary_, mnt_, runtime_}) {
      ASSERT_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
    }
  }
  [[nodiscard]] Ran as_user(std::vector<std::string> args) const {
    args.insert(args.begin(), program_);
    return run_program(args, {.user = kNobody, .environment = {"XDG_RUNTIME_DIR=" + runtime_}});
  }
  void create_as_user() {
    const Ran ran = as_user({"create", map_, "--primary", primary_, "--spare", spare_, "--spare-size", "2M"});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }

  std::string program_;
  std::string runtime_;
};

TEST_F(CliUser, WholeLifeWithoutRoot) {
  create_as_user();
  Ran ran = as_user({"mount", map_, mnt_});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  ran = run_program({"cat", disk_}, {.user = kNobody});
  EXPECT_EQ(ran.out, known_bytes(0, kPrimaryBytes));
  struct stat info {};
  ASSERT_EQ(::stat((runtime_ + "/remapfs").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  EXPECT_EQ(as_user({"add", mnt_, "1-2"}).exit_code, 0);
  ran = as_user({"status", map_, "-J"});
  EXPECT_EQ(nlohmann::json::parse(ran.out, nullptr, false)["remapped_blocks"], 2);
  EXPECT_THAT(as_user({"list", map_}).out, HasSubstr("remapped"));
  ran = as_user({"unmount", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(as_user({"check", map_}).out, "clean\n");
}

TEST_F(CliUser, RootCanManageAUsersVolume) {
  create_as_user();
  ASSERT_EQ(as_user({"mount", map_, mnt_, "-o", "workers=2"}).exit_code, 0);
  // Root does not know where this user's sockets are, but sees the mount and that it is alive.
  expect_one_error(remapfs({"status", map_}), 2, "XDG_RUNTIME_DIR");
  EXPECT_THAT(remapfs({"list", map_}).out, HasSubstr("BLOCK"));
  const Ran ran = remapfs({"unmount", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliUser, LoopDevicesNeedRootAndNothingIsLeft) {
  create_as_user();
  const Ran ran = as_user({"attach", map_});
  expect_one_error(ran, 2, "loop");
  EXPECT_EQ(nlohmann::json::parse(as_user({"status", map_, "-J"}).out, nullptr, false)["mounted"], false);
}

TEST_F(CliUser, AllowOtherLetsThoseInWhoMayOpenThePrimary) {
  const std::string primary = dir_ / "shared";
  const std::string map = dir_ / "shared.map";
  write_bytes(primary, 0, std::string(1 << 20U, 'x'));
  ASSERT_EQ(
      remapfs({"create", map, "--primary", primary, "--spare", dir_ / "shared.spare", "--spare-size", "2M"}).exit_code,
      0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  const std::string place = dir_ / "shared.mnt";
  ASSERT_EQ(::mkdir(place.c_str(), 0755), 0);
  RunOptions other;
  other.user = 65534;
  for (const mode_t mode : {0666, 0600}) {
    ASSERT_EQ(::chmod(primary.c_str(), mode), 0);
    ASSERT_EQ(remapfs({"mount", map, place, "-o", "allow_other"}).exit_code, 0);
    EXPECT_EQ(run_program({"head", "-c", "3", place + "/disk"}, other).out, mode == 0666 ? "xxx" : "");
    ASSERT_EQ(remapfs({"unmount", map}).exit_code, 0);
  }
}

TEST_F(CliUser, SomebodyElsesMapIsAPermissionError) {
  create_as_user();
  ASSERT_EQ(::chown(map_.c_str(), 0, 0), 0);
  expect_one_error(as_user({"status", map_}), 2, map_);
  expect_one_error(as_user({"mount", map_, mnt_}), 32, map_);
}

}  // namespace
}  // namespace remapfs::e2e
