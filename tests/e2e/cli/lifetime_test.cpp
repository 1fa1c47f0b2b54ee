// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "core/unique_fd.hpp"
#include "e2e/cli/workspace.hpp"
#include "support/process_status.hpp"

// How a daemon begins and ends.

namespace remapfs::e2e {
namespace {

constexpr std::chrono::seconds kPatience{20};

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class CliLifetime : public Workspace {
 protected:
  void SetUp() override {
    create();
    mount();
    daemon_ = daemon();
    socket_ = "/run/remapfs/" + status(map_)["volume"]["uuid"].get<std::string>() + ".sock";
  }
  [[nodiscard]] bool mounted() const { return run_program({"mountpoint", "-q", mnt_}).exit_code == 0; }

  pid_t daemon_ = 0;
  std::string socket_;
};

// Containers withhold CAP_SYS_RESOURCE even from root, so the kernel's part is played.
TEST_F(CliLifetime, DaemonIsAnIoFlusherBeforeItHasThreads) {
  unmount();
  const std::string log = dir_ / "prctl.log";
  const Ran mounted =
      remapfs({"mount", map_, mnt_},
              {.environment = {std::string("LD_PRELOAD=") + REMAPFS_GRANTED_PRCTL, "GRANTED_PRCTL_LOG=" + log}});
  ASSERT_EQ(mounted.exit_code, 0) << mounted.err;
  EXPECT_EQ(status(map_)["hardening"][0], "io flusher: granted");
  const std::string noted = fmt::format("{} 1\n{} 1\n", daemon(), worker());
  EXPECT_EQ(std::filesystem::file_size(log), noted.size());
  EXPECT_EQ(read_bytes(log, 0, noted.size()), noted);
}

// Of /proc/PID/status: a number in this base.
std::uint64_t of_status(pid_t process, const std::string& name, int base) {
  const std::string value = testing::process_status(process, name);
  return value.empty() ? 0 : std::stoull(value, nullptr, base);
}

TEST_F(CliLifetime, WhatIsSaidOfMemoryPrivilegesAndTheOomKillerIsTrue) {
  constexpr std::uint64_t kIpcLock = 1U << 14U;
  constexpr std::uint64_t kSysResource = 1U << 24U;
  // chown, dac_override, fowner, ipc_lock, sys_ptrace, sys_admin
  constexpr std::uint64_t kKept = 1U << 0U | 1U << 1U | 1U << 3U | kIpcLock | 1U << 19U | 1U << 21U;
  const std::uint64_t ours = of_status(::getpid(), "CapEff", 16);
  const auto lines = status(map_)["hardening"].dump();
  for (const pid_t process : {daemon(), worker()}) {
    SCOPED_TRACE(process == worker() ? "worker" : "keeper");
    for (const char* set : {"CapEff", "CapPrm"}) EXPECT_EQ(of_status(process, set, 16), ours & kKept) << set;
    EXPECT_EQ(of_status(process, "CapInh", 16) & ~ours, 0U);
    if ((ours & kIpcLock) != 0) {
      EXPECT_THAT(lines, HasSubstr("memory lock: granted"));
      EXPECT_GT(of_status(process, "VmLck", 10), of_status(process, "VmRSS", 10) * 9 / 10);
    }
    int score = 0;
    std::ifstream(fmt::format("/proc/{}/oom_score_adj", process)) >> score;
    if ((ours & kSysResource) != 0) {
      EXPECT_EQ(score, -1000);
      EXPECT_THAT(lines, HasSubstr("oom score -1000: granted"));
    } else {
      EXPECT_THAT(lines, HasSubstr(fmt::format("stays {}", score)));
    }
  }
}

TEST_F(CliLifetime, RequestsWakeNobodyWhoDoesNotServeThem) {
  const auto wake_ups = [serving = worker()] { return of_status(serving, "voluntary_ctxt_switches", 10); };
  const std::uint64_t before = wake_ups();
  ASSERT_GT(before, 0U);
  ASSERT_EQ(run_program({"dd", "if=" + disk_, "of=/dev/null", "bs=512", "count=2000", "iflag=direct"}).exit_code, 0);
  EXPECT_LT(wake_ups() - before, 100U) << "the main thread of the daemon";
}

TEST_F(CliLifetime, EngineIsTheOneAskedForAndStatusSaysSo) {
  for (const std::string engine : {"blocking", "io_uring"}) {
    unmount();
    mount({"-o", "engine=" + engine});
    const auto now = status(map_);
    // Containers may forbid io_uring.
    EXPECT_EQ(now["engine"], now["transport"]["no_io_uring"].is_null() ? engine : "blocking");
    EXPECT_EQ(read_bytes(disk_, 12345, 5000), known_bytes(12345, 5000));
  }
}

TEST_F(CliLifetime, SigtermAndSigintUnmountInOrder) {
  for (const int signal : {SIGTERM, SIGINT}) {
    write_bytes(disk_, 0, "stored by " + std::to_string(signal));
    const pid_t process = daemon();
    ASSERT_EQ(::kill(process, signal), 0);
    EXPECT_TRUE(ends_within(process, 30s));
    EXPECT_FALSE(mounted());
    EXPECT_EQ(::access(socket_.c_str(), F_OK), -1);
    EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
    EXPECT_EQ(read_bytes(primary_, 0, 9), "stored by");
    mount();
  }
}

TEST_F(CliLifetime, SigtermWhileBusyKeepsServing) {
  UniqueFd held(::open(disk_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(held);
  ASSERT_EQ(::kill(daemon_, SIGTERM), 0);
  // A verb that is answered after the signal was handled or not: both ways the daemon still serves.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(status(map_)["mounted"], true);
  char byte = 0;
  EXPECT_EQ(::pread(held.get(), &byte, 1, 0), 1);
  EXPECT_FALSE(ends_within(daemon_, 0s));
  const Ran ran = remapfs({"unmount", map_});
  expect_one_error(ran, 2, "in use");
  EXPECT_THAT(ran.err, HasSubstr("e2e_cli")) << "the users are named";
  EXPECT_THAT(ran.err, HasSubstr(std::to_string(::getpid())));
  EXPECT_EQ(::pwrite(held.get(), "after", 5, 0), 5);
  held.reset();
  unmount();
  EXPECT_EQ(read_bytes(primary_, 0, 5), "after");
}

TEST_F(CliLifetime, PlainUmountEndsTheDaemonInOrder) {
  ASSERT_EQ(remapfs({"add", map_, "9"}).exit_code, 0);
  ASSERT_EQ(run_program({"umount", mnt_}).exit_code, 0);
  EXPECT_TRUE(ends_within(daemon_, 30s));
  EXPECT_EQ(::access(socket_.c_str(), F_OK), -1);
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, KilledDaemonsMountIsTakenAwayByForceAndTheMapMountsAgain) {
  ASSERT_EQ(remapfs({"add", map_, "9"}).exit_code, 0);
  write_bytes(disk_, 9 * 4096, std::string(4096, 'k'));
  kill_daemon();
  ASSERT_TRUE(ends_within(daemon_, 30s));
  ASSERT_EQ(::access(socket_.c_str(), F_OK), 0) << "a killed daemon leaves its socket";
  for (const char* verb : {"status", "unmount"}) {
    for (const std::string& target : {mnt_, map_, disk_}) {
      expect_one_error(remapfs({verb, target}), 2, "--force");
    }
  }
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, mnt_);
  EXPECT_EQ(remapfs({"unmount", mnt_, "--force"}).exit_code, 0);
  EXPECT_FALSE(mounted());
  EXPECT_EQ(::access(socket_.c_str(), F_OK), -1);
  mount();
  EXPECT_EQ(read_bytes(disk_, 9 * 4096, 4096), std::string(4096, 'k'));
  EXPECT_EQ(read_bytes(disk_, 0, 4096), known_bytes(0, 4096));
  unmount();
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, KilledDaemonsMountInUseIsTakenAwayToo) {
  UniqueFd held(::open(disk_.c_str(), O_RDONLY | O_CLOEXEC));
  kill_daemon();
  ASSERT_TRUE(ends_within(daemon_, 30s));
  EXPECT_EQ(remapfs({"unmount", map_, "--force"}).exit_code, 0);
  EXPECT_FALSE(mounted());
  mount();
}

TEST_F(CliLifetime, ForceEndsAMountWhoseUserDoesNotLetGo) {
  UniqueFd held(::open(disk_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::pwrite(held.get(), "acknowledged", 12, 0), 12);
  expect_one_error(remapfs({"unmount", map_}), 2, "in use");
  EXPECT_EQ(remapfs({"unmount", map_, "--force"}).exit_code, 0);
  EXPECT_TRUE(ends_within(daemon_, 0s));
  char byte = 0;
  EXPECT_EQ(::pread(held.get(), &byte, 1, 0), -1);
  EXPECT_EQ(read_bytes(primary_, 0, 12), "acknowledged");
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

// A mount that somebody else sees too does not go away with ours: it is said, not waited for.
TEST_F(CliLifetime, MountInAnotherNamespaceIsNamedAndForceEndsIt) {
  const Running elsewhere({"unshare", "-m", "sleep", "300"});
  ASSERT_TRUE(eventually(
      [&] {
        return run_program({"grep", "-q", " " + mnt_ + " ", fmt::format("/proc/{}/mountinfo", elsewhere.pid())})
                       .exit_code == 0 &&
               std::filesystem::read_symlink(fmt::format("/proc/{}/ns/mnt", elsewhere.pid())) !=
                   std::filesystem::read_symlink("/proc/self/ns/mnt");
      },
      kPatience));
  for (int i = 0; i < 2; ++i) {
    expect_one_error(remapfs({"unmount", map_}, {.timeout = 20s}), 2, "another mount namespace");
    EXPECT_FALSE(mounted());
  }
  EXPECT_EQ(remapfs({"unmount", map_, "--force"}, {.timeout = 20s}).exit_code, 0);
  EXPECT_TRUE(ends_within(daemon_, 5s));
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, MountInASecondPlaceOrUnderAnotherIsNotHalfUnmounted) {
  const std::string second = dir_ / "second";
  std::filesystem::create_directory(second);
  ASSERT_EQ(run_program({"mount", "--bind", mnt_, second}).exit_code, 0);
  expect_one_error(remapfs({"unmount", map_}, {.timeout = 20s}), 2, second);
  EXPECT_TRUE(mounted());
  ASSERT_EQ(run_program({"umount", second}).exit_code, 0);

  ASSERT_EQ(run_program({"mount", "-t", "tmpfs", "over", mnt_}).exit_code, 0);
  expect_one_error(remapfs({"unmount", map_}, {.timeout = 20s}), 2, "over");
  expect_one_error(remapfs({"unmount", map_, "--force"}, {.timeout = 20s}), 2, "over");
  ASSERT_EQ(run_program({"umount", mnt_}).exit_code, 0);
  unmount();
  EXPECT_TRUE(ends_within(daemon_, 0s));
}

// By whichever path it was attached.
TEST_F(CliLifetime, ForceBreaksNoConnectionUnderALoopDevice) {
  const std::string device = run_program({"losetup", "--find", "--show", disk_}).out;
  ASSERT_TRUE(device.starts_with("/dev/loop"));
  const std::string loop = device.substr(0, device.find('\n'));
  const std::string second = dir_ / "second";
  std::filesystem::create_directory(second);
  ASSERT_EQ(run_program({"mount", "--bind", mnt_, second}).exit_code, 0);
  expect_one_error(remapfs({"unmount", map_, "--force"}, {.timeout = 20s}), 2, loop);
  EXPECT_TRUE(mounted());
  EXPECT_EQ(run_program({"dd", "if=" + loop, "of=/dev/null", "bs=4k", "count=1", "iflag=direct"}).exit_code, 0);
  ASSERT_EQ(run_program({"losetup", "--detach", loop}).exit_code, 0);
  // With another opener it goes at the last close.
  const std::string backing = "/sys/block/" + loop.substr(5) + "/loop/backing_file";
  ASSERT_TRUE(eventually([&] { return ::access(backing.c_str(), F_OK) != 0; }, kPatience));
  const Ran forced = remapfs({"unmount", map_, "--force"}, {.timeout = 20s});
  EXPECT_EQ(forced.exit_code, 0) << forced.err;
  EXPECT_TRUE(ends_within(daemon_, 5s));
}

// Between two processes nobody holds the map.
TEST_F(CliLifetime, WhatIsMountedIsNotDestroyedRepairedOrMountedAgainWhileNobodyServesIt) {
  const pid_t serving = worker();
  ASSERT_EQ(::kill(daemon_, SIGSTOP), 0);
  ASSERT_EQ(::kill(serving, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return remapfs({"check", map_}).err.find("in use") == std::string::npos; }, kPatience));
  expect_one_error(remapfs({"destroy", map_}), 2, mnt_);
  expect_one_error(remapfs({"repair", map_}), 2, mnt_);
  std::filesystem::create_directory(dir_ / "second");
  expect_one_error(remapfs({"mount", map_, dir_ / "second"}, {.timeout = 20s}), 32, mnt_);
  expect_one_error(remapfs({"mount", "-f", map_, dir_ / "second"}, {.timeout = 20s}), 32, mnt_);
  ASSERT_EQ(::kill(daemon_, SIGCONT), 0);
  EXPECT_EQ(read_bytes(disk_, 0, 4096), known_bytes(0, 4096));
  unmount();
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, MapThatWasTakenAwayIsMissed) {
  const std::string elsewhere = dir_ / "elsewhere";
  std::filesystem::rename(map_, elsewhere);
  expect_one_error(remapfs({"unmount", mnt_}), 2, map_);
  EXPECT_TRUE(ends_within(daemon_, 30s));
  std::filesystem::rename(elsewhere, map_);
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, MountPointBelowARenamedFolderIsFound) {
  const std::string parent = dir_ / "parent";
  std::filesystem::create_directories(parent + "/mnt");
  unmount();
  ASSERT_EQ(remapfs({"mount", map_, parent + "/mnt"}).exit_code, 0);
  std::filesystem::rename(parent, dir_ / "renamed");
  EXPECT_EQ(remapfs({"unmount", map_}, {.timeout = 20s}).exit_code, 0);
  EXPECT_EQ(status(map_)["mounted"], false);
}

TEST_F(CliLifetime, RequestThatWaitsForADeviceDoesNotOutliveAForcedUnmount) {
  unmount();
  const std::string failing = mount_failing_disk();
  const std::string map = dir_ / "waiting.map";
  ASSERT_EQ(remapfs({"create", map, "--primary", failing + "/disk", "--spare", dir_ / "other", "--spare-size", "2M"})
                .exit_code,
            0);
  ASSERT_EQ(remapfs({"mount", map, mnt_, "-o", "on-loss=wait"}).exit_code, 0);
  ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "on"}).exit_code, 0);
  {
    const Running reader({"dd", "if=" + disk_, "of=/dev/null", "bs=4096", "count=1"});
    ASSERT_TRUE(eventually([&] { return status(map)["state"] == "suspended"; }, kPatience));
    const pid_t process = status(map)["daemon_pid"];
    EXPECT_EQ(remapfs({"unmount", map, "--force"}, {.timeout = 40s}).exit_code, 0);
    EXPECT_TRUE(ends_within(process, 5s));
  }
  ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "off"}).exit_code, 0);
  EXPECT_EQ(remapfs({"mount", map, mnt_}).exit_code, 0);
  EXPECT_EQ(remapfs({"unmount", map}).exit_code, 0);
  EXPECT_EQ(run_program({REMAPFS_FAULTY_DISK, "unmount", failing}).exit_code, 0);
}

TEST_F(CliLifetime, AbortedConnectionEndsTheDaemonInOrder) {
  ASSERT_EQ(remapfs({"add", map_, "9"}).exit_code, 0);
  const Ran ran = run_program({"sh", "-c",
                               "minor=$(grep ' '\"$0\"' ' /proc/self/mountinfo | cut -d' ' -f3 | cut -d: -f2); "
                               "echo 1 > /sys/fs/fuse/connections/$minor/abort",
                               mnt_});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_TRUE(ends_within(daemon_, 30s));
  EXPECT_FALSE(mounted());
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliLifetime, UnmountIsAnsweredOnceWhileVerbsRun) {
  const pid_t process = daemon_;
  Running marking({REMAPFS_PROGRAM, "mark-lost", map_, "0-4095"});
  ASSERT_TRUE(eventually([&] { return status(map_)["lost_sectors"] != 0; }, kPatience));
  unmount();
  EXPECT_TRUE(ends_within(process, 0s));
  EXPECT_NE(marking.wait(), -1);
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

class CliForeground : public Workspace {};

TEST_F(CliForeground, StaysInTheForegroundAndTellsTheServiceManager) {
  create();
  Running running({REMAPFS_PROGRAM, "mount", map_, mnt_, "--foreground"});
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!status(map_)["mounted"].get<bool>()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  EXPECT_EQ(status(map_)["daemon_pid"], running.pid());
  EXPECT_EQ(read_bytes(disk_, 0, 512), known_bytes(0, 512));
  ASSERT_EQ(::kill(running.pid(), SIGTERM), 0);
  EXPECT_EQ(running.wait(), 0);
}

TEST_F(CliForeground, FailureIsExitCode32) {
  create();
  expect_one_error(remapfs({"mount", map_, dir_ / "none", "-f"}), 32, "none");
}

}  // namespace
}  // namespace remapfs::e2e
