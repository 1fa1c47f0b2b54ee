// SPDX-License-Identifier: Apache-2.0
#include "cli/udev_notice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "io/proc_files.hpp"
#include "support/fake_kernel_views.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;

// A disk with one partition, a second disk, and a runtime directory.
class UdevNoticeTest : public ::testing::Test {
 protected:
  UdevNoticeTest() {
    kernel_.add_disk("sdb", "8:16", 1000);
    kernel_.add_partition("sdb", "sdb1", "8:17", 8, 900);
    kernel_.add_disk("sdc", "8:32", 1000);
    forget_events();
  }

  void forget_events() {
    for (const char* const device : {"sdb", "sdb/sdb1", "sdc"}) kernel_.set(device, "uevent", "none so far");
  }
  bool was_asked(const std::string& device) const {
    return read_text_file(kernel_.views().sys + "/devices/" + device + "/uevent")->starts_with("change");
  }
  std::optional<std::string> file(const std::string& name) const { return read_text_file(run_ / name); }
  Result<void> post(const UdevNotice& notice) {
    return post_udev_notice(run_.path().string(), notice, kernel_.views());
  }
  void withdraw(const std::string& uuid) { withdraw_udev_notice(run_.path().string(), uuid, kernel_.views()); }

  const dev_t sdb_ = makedev(8, 16);
  const dev_t sdc_ = makedev(8, 32);
  remapfs::testing::FakeKernelViews kernel_;
  remapfs::testing::TempDir run_;
};

TEST_F(UdevNoticeTest, NamesTheDiskTheVolumeAndEveryMember) {
  ASSERT_TRUE(post({"uuid-1", "old disk", "/run/x/disk", {sdb_}}));
  EXPECT_EQ(file("uuid-1.volume"), "REMAPFS_DISK=/run/x/disk\nREMAPFS_UUID=uuid-1\nREMAPFS_LABEL=old_disk\n");
  EXPECT_EQ(file("devices/8:16"), "uuid-1\n");
  EXPECT_TRUE(was_asked("sdb"));
  EXPECT_TRUE(was_asked("sdb/sdb1"));
  EXPECT_FALSE(was_asked("sdc"));
}

TEST_F(UdevNoticeTest, PostedAgainAsksForEventsOfWhatIsNewOrGoneOnly) {
  ASSERT_TRUE(post({"uuid-1", "", "", {sdb_}}));
  forget_events();
  ASSERT_TRUE(post({"uuid-1", "", "/run/x/disk", {sdb_}}));
  EXPECT_FALSE(was_asked("sdb"));
  ASSERT_TRUE(post({"uuid-1", "", "/run/x/disk", {sdc_}}));
  EXPECT_TRUE(was_asked("sdb"));
  EXPECT_TRUE(was_asked("sdc"));
  EXPECT_EQ(file("devices/8:16"), std::nullopt);
}

TEST_F(UdevNoticeTest, WithdrawnLeavesNothingButOtherVolumes) {
  ASSERT_TRUE(post({"uuid-1", "", "", {sdb_}}));
  ASSERT_TRUE(post({"uuid-2", "", "", {sdc_}}));
  forget_events();
  withdraw("uuid-1");
  EXPECT_EQ(file("uuid-1.volume"), std::nullopt);
  EXPECT_EQ(file("devices/8:16"), std::nullopt);
  EXPECT_EQ(file("devices/8:32"), "uuid-2\n");
  EXPECT_TRUE(was_asked("sdb"));
  EXPECT_TRUE(was_asked("sdb/sdb1"));
  EXPECT_FALSE(was_asked("sdc"));
  withdraw("uuid-2");
  EXPECT_TRUE(std::filesystem::is_empty(run_.path()));
  withdraw("uuid-2");
}

TEST_F(UdevNoticeTest, ThatCannotBeWrittenSaysSo) {
  const auto posted = post_udev_notice(run_ / "not there", {"uuid-1", "", "", {}}, kernel_.views());
  ASSERT_FALSE(posted);
  EXPECT_THAT(posted.error().message, ::testing::StartsWith("udev is not told of this volume, "));
}

TEST_F(UdevNoticeTest, APathOfTwoLinesCannotForgeAProperty) {
  ASSERT_TRUE(post({"uuid-1", "", "/x\nREMAPFS_LABEL=sda", {}}));
  EXPECT_EQ(file("uuid-1.volume"), "REMAPFS_DISK=\nREMAPFS_UUID=uuid-1\nREMAPFS_LABEL=\n");
}

TEST_F(UdevNoticeTest, ALabelBecomesANameThatStaysInItsFolder) {
  EXPECT_EQ(link_name("old-disk_2.0"), "old-disk_2.0");
  EXPECT_EQ(link_name("../../sda"), ".._.._sda");
  EXPECT_EQ(link_name("a b/c\n"), "a_b_c_");
  EXPECT_EQ(link_name(".."), "");
  EXPECT_EQ(link_name(""), "");
  EXPECT_EQ(link_name("\xc3\xbc"), "__");
}

TEST_F(UdevNoticeTest, FilesAreNoMembers) {
  EXPECT_TRUE(block_devices({run_.path().string(), "/dev/null", "/nonexistent"}).empty());
}

TEST_F(UdevNoticeTest, WaitsForUdevdUntilItHasSeenEveryMember) {
  const std::string udev = run_ / "udev";
  std::filesystem::create_directories(udev + "/data");
  const auto begin = std::chrono::steady_clock::now();
  wait_for_udev({sdb_}, 60s, udev);  // no udevd
  std::ofstream(udev + "/control") << "";
  std::ofstream(udev + "/data/b8:16") << "I:1\nE:REMAPFS_MEMBER=1\nG:systemd\n";
  wait_for_udev({sdb_}, 60s, udev);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);

  std::atomic<bool> seen = false;
  std::thread udevd([&] {
    std::this_thread::sleep_for(50ms);
    seen = true;
    std::ofstream(udev + "/data/b8:32.new") << "I:1\nE:REMAPFS_MEMBER=1\n";
    std::filesystem::rename(udev + "/data/b8:32.new", udev + "/data/b8:32");
  });
  wait_for_udev({sdb_, sdc_}, 60s, udev);
  EXPECT_TRUE(seen);
  udevd.join();
}

TEST_F(UdevNoticeTest, AUdevdThatDoesNotAnswerIsNotWaitedForForGood) {
  const std::string udev = run_ / "udev";
  std::filesystem::create_directories(udev + "/data");
  std::ofstream(udev + "/control") << "";
  std::ofstream(udev + "/data/b8:16") << "E:ID_MODEL=x\n";
  const auto begin = std::chrono::steady_clock::now();
  wait_for_udev({sdb_}, 50ms, udev);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
}

}  // namespace
}  // namespace remapfs::cli
