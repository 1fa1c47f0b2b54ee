// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <future>
#include <string>
#include <thread>

#include "e2e/survival/survival_rig.hpp"

// Before Linux 6.9 the kernel cannot send requests again. Whoever waits then gets an error and does not hang; all else
// is as it is on newer ones. The kernel's part is played by a library that is preloaded.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

class OlderKernel : public ForegroundRig {
 protected:
  static constexpr const char* kWhy = "no other goes on: the kernel cannot send its requests again (Linux 6.9 can): ";

  OlderKernel() { mount({std::string("LD_PRELOAD=") + OLDER_KERNEL}); }
};

TEST_F(OlderKernel, WhoWaitsWhenTheWorkerIsKilledGetsAnErrorAndIsToldWhy) {
  const auto survival = volume_.status().at("crash_survival");
  EXPECT_EQ(survival.at("granted"), false);
  EXPECT_EQ(survival.at("reason"), "the kernel cannot send requests again (Linux 6.9 can)");

  alignas(4096) static std::array<char, kLength> bytes;
  bytes.fill('a');
  Ran ended;
  {
    const OpenFile disk(volume_.disk(), O_RDWR | O_DIRECT);
    ASSERT_EQ(::pwrite(disk.fd(), bytes.data(), kLength, 2 * kLength), static_cast<ssize_t>(kLength));
    primary_.add_rule({0}, "op=write,slow=1500ms,mode=times:1");
    auto waiting =
        std::async(std::launch::async, [&] { return ::pwrite(disk.fd(), bytes.data(), kLength, 0) < 0 ? errno : 0; });
    std::this_thread::sleep_for(300ms);
    ASSERT_EQ(waiting.wait_for(0s), std::future_status::timeout) << "it is not on its way";
    ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);

    ended = end_of_daemon();
    // By now nobody waits any more, and nobody will; that thread has to come to its turn, too.
    EXPECT_EQ(waiting.wait_for(2s), std::future_status::ready);
    if (ended.code == 124) must_run({REMAPFS, "unmount", "--force", volume_.map()}, 30);
    EXPECT_NE(waiting.get(), 0) << "the worker that had it is dead";
    EXPECT_EQ(::pread(disk.fd(), bytes.data(), kLength, 0), -1);
  }
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_NE(ended.err.find("this mount, it ends with the process that serves it"), std::string::npos)
      << "told at its start: " << ended.err;
  EXPECT_NE(ended.err.find(std::string(kWhy) + "run remapfs unmount --force, remapfs check, mount again\n"),
            std::string::npos)
      << ended.err;

  // As it says. What was acknowledged is there.
  const Ran unmounted = run({REMAPFS, "unmount", "--force", volume_.map()});
  EXPECT_EQ(unmounted.code, 0) << unmounted.err;
  EXPECT_EQ(volume_.check().code, 0);
  volume_.mount();
  const OpenFile disk(volume_.disk(), O_RDONLY | O_DIRECT);
  ASSERT_EQ(::pread(disk.fd(), bytes.data(), kLength, 2 * kLength), static_cast<ssize_t>(kLength));
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 'a'), static_cast<std::ptrdiff_t>(kLength));
}

TEST_F(OlderKernel, AMountThatNobodyUsesIsTakenAwayWithItsWorker) {
  ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);
  const Ran ended = end_of_daemon();
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.err.find(std::string(kWhy) + "run remapfs check, mount again\n"), std::string::npos) << ended.err;
  EXPECT_EQ(volume_.check().code, 0);
  volume_.mount();
}

TEST_F(OlderKernel, UpgradesUnderAVerifiedLoadAreSeenByNobody) {
  std::jthread load([&] { verified_load(volume_.disk(), 3, kSize); });
  const pid_t keeper = volume_.keeper();
  for (unsigned i = 0; i < 3; ++i) {
    const Ran ran = volume_.ask("upgrade", {});
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
  load.join();
  const auto status = volume_.status();
  EXPECT_EQ(status.at("crash_survival").at("upgrades"), 3);
  EXPECT_EQ(status.at("daemon_pid"), keeper) << "signals go to the same process as before";
}

TEST_F(OlderKernel, EndsInOrder) {
  ASSERT_EQ(::kill(volume_.keeper(), SIGTERM), 0);
  const Ran ended = end_of_daemon();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(volume_.check().code, 0);
}

}  // namespace
}  // namespace remapfs::testing
