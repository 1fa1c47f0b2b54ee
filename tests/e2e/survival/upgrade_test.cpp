// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include "e2e/survival/survival_rig.hpp"
#include "support/soak.hpp"

namespace remapfs::testing {
namespace {

class Upgrade : public SurvivalRig {};

// One line that says what happened, and the old program goes on.
void expect_refused(const MountedVolume& volume, const std::string& program, const std::string& part) {
  const pid_t keeper = volume.keeper();
  const Ran ran = volume.ask("upgrade", {"--program", program});
  EXPECT_EQ(ran.code, 2) << ran.out;
  EXPECT_NE(ran.err.find(part), std::string::npos) << ran.err;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  EXPECT_EQ(volume.keeper(), keeper);
  EXPECT_EQ(must_run({"dd", "if=" + volume.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);
}

class UpgradeUnderLoad : public Upgrade {
 protected:
  // To a copy of this program and back, again and again, as long as the load runs.
  void upgrade_while(const std::function<void()>& load) {
    const unsigned wanted = soaking() ? 50 : 5;
    const std::string copy = directory_ / "remapfs-new";
    std::filesystem::copy_file(REMAPFS, copy);
    std::atomic<bool> wanted_more = true;
    std::thread loading([&] {
      while (wanted_more) load();
    });
    for (unsigned i = 0; i < wanted; ++i) {
      const Ran ran =
          volume_.ask("upgrade", i % 2 == 0 ? std::vector<std::string>{"--program", copy} : std::vector<std::string>{});
      EXPECT_EQ(ran.code, 0) << ran.err;
    }
    wanted_more = false;
    loading.join();
    EXPECT_EQ(survival().at("upgrades"), wanted);
    EXPECT_EQ(survival().at("restarts"), 0);
    EXPECT_EQ(volume_.keeper(), keeper_) << "signals go to the same process as before";
    EXPECT_EQ(volume_.status().at("state"), "healthy");
  }
};

TEST_F(UpgradeUnderLoad, OnALoopDeviceIsSeenByNobody) {
  const std::string& device = attach_loop();
  upgrade_while([&] { verified_load(device, 3, kPrimarySize); });
}

TEST_F(UpgradeUnderLoad, UnderExt4IsSeenByNobody) {
  const std::string folder = mount_ext4();
  upgrade_while([&] { load_file_system(folder, 3); });
  unmount_ext4();
}

TEST_F(Upgrade, TheNewProgramSurvivesKillsAsWell) {
  ASSERT_EQ(volume_.ask("upgrade", {}).code, 0);
  kill_worker();
  EXPECT_EQ(must_run({"dd", "if=" + volume_.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);
  EXPECT_EQ(survival().at("restarts"), 1);
}

TEST_F(Upgrade, AProgramThatIsJustBeingStartedAgainIsWaitedFor) {
  for (unsigned i = 0; i < 10; ++i) {
    kill_worker();
    std::this_thread::sleep_for(std::chrono::milliseconds(3 * i));
    const Ran ran = volume_.ask("upgrade", {});
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
}

TEST_F(Upgrade, AProgramThatRefusesTheHandoverLeavesTheOldOne) {
  expect_refused(volume_, "/bin/false", "cannot go on with this mount");
  EXPECT_EQ(survival().at("failed_upgrades"), 0) << "it was not even tried";
}

TEST_F(Upgrade, AProgramThatOnlySaysItCanLeavesTheOldOne) {
  expect_refused(volume_, "/bin/true", "the old one serves as before");
  EXPECT_EQ(survival().at("failed_upgrades"), 1);
  EXPECT_EQ(survival().at("upgrades"), 0);
}

TEST_F(Upgrade, WhatIsNoProgramIsRefused) {
  expect_refused(volume_, "/etc/passwd", "not a program");
  expect_refused(volume_, directory_ / "none", "none");
}

TEST_F(Upgrade, AProgramStoredOnTheVolumeItselfIsRefused) {
  const std::string program = mount_ext4() + "/remapfs";
  std::filesystem::copy_file(REMAPFS, program);
  expect_refused(volume_, program, "stored on the volume itself");
  unmount_ext4();
}

TEST_F(Upgrade, AVolumeThatIsNotMountedHasNothingToUpgrade) {
  volume_.unmount();
  const Ran ran = volume_.ask("upgrade", {});
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.err.find("not mounted"), std::string::npos);
}

}  // namespace
}  // namespace remapfs::testing
