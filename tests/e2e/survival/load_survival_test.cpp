// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <thread>

#include "e2e/survival/survival_rig.hpp"
#include "support/soak.hpp"

// Whoever uses a mounted volume notices nothing when the process that serves it is killed: no error, no wrong byte.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

using SurvivalUnderLoad = SurvivalRig;

TEST_F(SurvivalUnderLoad, KillsUnderAVerifiedLoadOnALoopDeviceAreSeenByNobody) {
  const std::uint64_t wanted = soaking() ? 1000 : 20;
  const std::string& device = attach_loop();
  std::uint64_t kills = 0;
  while (kills < wanted && !HasFailure()) {
    kills += kill_while([&] { verified_load(device, soaking() ? 20 : 3, kPrimarySize); }, 400ms);
  }
  ASSERT_TRUE(eventually([&] { return restarts() >= kills; }));
  EXPECT_EQ(volume_.keeper(), keeper_);
  EXPECT_EQ(volume_.status().at("state"), "healthy");
  std::cout << kills << " kills\n";
}

TEST_F(SurvivalUnderLoad, KillsUnderExt4AreSeenByNobody) {
  const std::uint64_t wanted = soaking() ? 1000 : 15;
  const std::string folder = mount_ext4();
  std::uint64_t kills = 0;
  while (kills < wanted && !HasFailure()) {
    kills += kill_while([&] { load_file_system(folder, soaking() ? 20 : 4); }, 400ms);
  }
  unmount_ext4();
  ASSERT_TRUE(eventually([&] { return restarts() >= kills; }));
  EXPECT_EQ(volume_.keeper(), keeper_);
  EXPECT_EQ(volume_.status().at("state"), "healthy");
  std::cout << kills << " kills\n";
}

class SurvivalOnADyingDisk : public ForegroundRig {
 protected:
  Random random_{test_seed()};
};

// Of a block that is being moved, of a commit that is being made, of a slot that is being written.
TEST_F(SurvivalOnADyingDisk, KillsWhileBlocksMoveAreSeenByNobody) {
  const std::uint64_t wanted = soaking() ? 300 : 15;
  mount({});
  const pid_t keeper = volume_.keeper();
  std::uint64_t kills = 0;
  unsigned waves = 0;
  while (kills < wanted && !HasFailure()) {
    std::jthread load([&] { verified_load(volume_.disk(), soaking() ? 20 : 4, kSize); });
    const auto until = std::chrono::steady_clock::now() + (soaking() ? 20s : 4s);
    pid_t killed = -1;
    while (std::chrono::steady_clock::now() < until) {
      // Some more blocks die, for good; and others take a moment, or several tries, for a while.
      must_run({FAULTY_DISK, "set", directory_ / "primary",
                fmt::format("count=4,seed={},op=write", random_.below(1U << 30U))});
      if (waves++ % 8 == 0) {
        must_run({FAULTY_DISK, "set", directory_ / "primary",
                  fmt::format("count=200,seed={},op=read,mode=times:2", random_.below(1U << 30U))});
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(random_.below(250)));
      const pid_t serving = worker_of(keeper);
      if (serving <= 0 || serving == killed || ::kill(serving, SIGKILL) != 0) continue;
      killed = serving;
      ++kills;
    }
  }
  ASSERT_TRUE(eventually([&] { return run({REMAPFS, "status", volume_.map()}).code == 0; }));
  const auto status = volume_.status();
  EXPECT_GE(status.at("remapped_blocks"), wanted) << "the kills met no relocation";
  EXPECT_EQ(status.at("lost_sectors"), 0);
  std::cout << kills << " kills, " << status.at("remapped_blocks") << " blocks moved\n";
  must_run({REMAPFS, "unmount", volume_.map()});
  EXPECT_EQ(end_of_daemon().code, 0);
  EXPECT_EQ(volume_.check().code, 0);
}

TEST_F(SurvivalUnderLoad, TheProcessThatKeepsTheDescriptorsMayBeKilledAsWell) {
  const std::jthread load([&] { verified_load(volume_.disk(), 4, kPrimarySize); });
  for (std::uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(::kill(keeper_, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return volume_.keeper() != keeper_; }));
    keeper_ = volume_.keeper();
    ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return restarts() == i + 1; }));
  }
}

TEST_F(SurvivalUnderLoad, TheProcessThatKeepsTheDescriptorsMayBeKilledWhileTheNextOneStarts) {
  const std::jthread load([&] { verified_load(volume_.disk(), 5, kPrimarySize); });
  const OpenFile primary(directory_ / "primary.img", O_RDWR);
  const pid_t serving = volume_.worker();
  kill_and_hold(keeper_, serving, primary);
  ASSERT_TRUE(eventually([&] { return worker() > 0 && worker() != serving; }));
  std::this_thread::sleep_for(500ms);
  ASSERT_EQ(::kill(keeper_, SIGKILL), 0);
  ASSERT_EQ(::flock(primary.fd(), LOCK_UN), 0);
  ASSERT_TRUE(eventually([&] { return restarts() == 1 && volume_.keeper() != keeper_; }));
  keeper_ = volume_.keeper();
  ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return restarts() == 2; }));
}

TEST_F(SurvivalUnderLoad, AMapThatIsAwayForAMomentIsWaitedFor) {
  std::filesystem::rename(volume_.map(), volume_.map() + ".away");
  kill_worker();
  ASSERT_TRUE(eventually([&] { return worker() == -1; })) << "it cannot start";
  std::filesystem::rename(volume_.map() + ".away", volume_.map());
  EXPECT_EQ(must_run({"dd", "if=" + volume_.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);
}

TEST_F(SurvivalUnderLoad, AVolumeThatCanNoLongerBeServedEndsWithErrorsRatherThanHanging) {
  if (!soaking()) GTEST_SKIP() << "takes half a minute: part of the soak";
  const OpenFile disk(volume_.disk(), O_RDONLY);
  std::filesystem::rename(volume_.map(), volume_.map() + ".away");
  kill_worker();
  char byte = 0;
  EXPECT_EQ(::pread(disk.fd(), &byte, 1, 0), -1);
  ASSERT_TRUE(eventually([&] { return ::kill(keeper_, 0) != 0; }, 60s));
  std::filesystem::rename(volume_.map() + ".away", volume_.map());
}

TEST_F(SurvivalUnderLoad, SignalsAndUnmountWorkAfterARestart) {
  kill_worker();
  ASSERT_TRUE(eventually([&] { return restarts() == 1; }));
  ASSERT_EQ(::kill(keeper_, SIGTERM), 0);
  ASSERT_TRUE(eventually([&] { return ::kill(keeper_, 0) != 0; }));
  EXPECT_EQ(volume_.check().code, 0);
}

}  // namespace
}  // namespace remapfs::testing
