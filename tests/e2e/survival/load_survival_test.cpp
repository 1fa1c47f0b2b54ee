// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "e2e/survival/survival_rig.hpp"

// Whoever uses a mounted volume notices nothing when the process that serves it is killed: no error, no wrong byte.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

using SurvivalUnderLoad = SurvivalRig;

// Directories with files of known contents are made, read and removed.
void come_and_go(const std::string& folder, std::chrono::seconds how_long) {
  const auto until = std::chrono::steady_clock::now() + how_long;
  try {
    for (std::uint64_t round = 0; std::chrono::steady_clock::now() < until; ++round) {
      const std::string place = fmt::format("{}/round{}", folder, round);
      std::filesystem::create_directory(place);
      for (int i = 0; i < 20; ++i) std::ofstream(fmt::format("{}/{}", place, i)) << place << i;
      for (int i = 0; i < 20; ++i) {
        std::string text;
        std::ifstream(fmt::format("{}/{}", place, i)) >> text;
        EXPECT_EQ(text, place + std::to_string(i));
      }
      std::filesystem::remove_all(place);
    }
  } catch (const std::filesystem::filesystem_error& error) {
    ADD_FAILURE() << error.what();
  }
}

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
  const std::string folder = mount_ext4();
  const unsigned seconds = soaking() ? 60 : 4;
  const std::uint64_t kills = kill_while(
      [&] {
        // Names as well as contents.
        const std::jthread names([&] { come_and_go(folder, std::chrono::seconds(seconds)); });
        verified_load(folder + "/file", seconds, 24U << 20U);
      },
      400ms);
  EXPECT_GE(kills, seconds);
  unmount_ext4();
  std::cout << kills << " kills\n";
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
