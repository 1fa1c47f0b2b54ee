// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "cli/loop_device.hpp"
#include "core/unique_fd.hpp"
#include "e2e/cli/workspace.hpp"
#include "support/loop_device.hpp"

// attach and detach: a real block device over the volume.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class CliAttach : public Workspace {
 protected:
  // The loop device that attach prints.
  std::string attach(const std::vector<std::string>& more = {}) {
    std::vector<std::string> args{"attach", map_};
    args.insert(args.end(), more.begin(), more.end());
    const Ran ran = remapfs(args);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.out, MatchesRegex("/dev/loop[0-9]+\n"));
    return ran.out.substr(0, ran.out.find('\n'));
  }
  // Where the disk is mounted that fails when it is told to.
  std::string create_on_failing_disk() {
    const std::string failing = mount_failing_disk();
    EXPECT_EQ(
        remapfs({"create", map_, "--primary", failing + "/disk", "--spare", spare_, "--spare-size", "2M"}).exit_code,
        0);
    return failing;
  }
  static std::string losetup(const std::string& loop, const std::string& column) {
    const Ran ran = run_program({"losetup", "--noheadings", "--raw", "-O", column, loop});
    return ran.out.substr(0, ran.out.find('\n'));
  }
  void expect_all_gone(const std::string& loop, const std::string& mount_point) {
    EXPECT_FALSE(cli::file_below_loop(loop)) << "the device is free";
    EXPECT_NE(run_program({"mountpoint", "-q", mount_point}).exit_code, 0);
    EXPECT_EQ(status(map_)["mounted"], false);
  }
};

TEST_F(CliAttach, MakesABlockDeviceAndDetachUndoesIt) {
  create();
  const std::string loop = attach();
  const std::string place = status(map_)["mountpoint"];
  EXPECT_EQ(place, "/run/remapfs/" + status(map_)["volume"]["uuid"].get<std::string>());
  EXPECT_EQ(losetup(loop, "DIO"), "1");
  EXPECT_EQ(losetup(loop, "LOG-SEC"), "512");
  EXPECT_EQ(losetup(loop, "BACK-FILE"), place + "/disk");
  EXPECT_EQ(read_bytes(loop, 4096, 4096), known_bytes(4096, 4096));
  write_bytes(loop, 8192, "through the loop device");
  EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
  EXPECT_EQ(::access(place.c_str(), F_OK), -1) << "the default mount point goes";
  expect_all_gone(loop, place);
  EXPECT_EQ(read_bytes(primary_, 8192, 23), "through the loop device");
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
}

TEST_F(CliAttach, TakesAMountPointAndEveryKindOfTargetDetaches) {
  create();
  for (const std::string& target : {map_, mnt_, disk_}) {
    const std::string loop = attach({mnt_});
    EXPECT_EQ(losetup(loop, "BACK-FILE"), disk_);
    const Ran ran = remapfs({"detach", target});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    expect_all_gone(loop, mnt_);
    EXPECT_EQ(::access(mnt_.c_str(), F_OK), 0) << "a mount point that was given stays";
  }
}

TEST_F(CliAttach, AgainPrintsTheSameDeviceWithANote) {
  create();
  const std::string loop = attach();
  const Ran again = remapfs({"attach", map_});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(again.out, loop + "\n");
  EXPECT_THAT(again.err, HasSubstr("note: attached already"));
  EXPECT_EQ(remapfs({"detach", map_}).exit_code, 0);
  const Ran nothing = remapfs({"detach", map_});
  EXPECT_EQ(nothing.exit_code, 0);
  EXPECT_THAT(nothing.err, HasSubstr("note: not attached"));
}

TEST_F(CliAttach, UsesAMountThatIsThere) {
  create();
  mount();
  const std::string loop = attach();
  EXPECT_EQ(losetup(loop, "BACK-FILE"), disk_);
  EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
  expect_all_gone(loop, mnt_);
}

TEST_F(CliAttach, FileSystemOnTopKeepsItAttached) {
  create();
  const std::string loop = attach({mnt_});
  ASSERT_EQ(run_program({"mkfs.ext4", "-q", loop}).exit_code, 0);
  const std::string top = dir_ / "top";
  std::filesystem::create_directory(top);
  ASSERT_EQ(run_program({"mount", loop, top}).exit_code, 0);
  write_bytes(top + "/file", 0, "kept");
  Ran ran = remapfs({"detach", map_});
  expect_one_error(ran, 2, loop);
  EXPECT_THAT(ran.err, HasSubstr(top)) << "where it is mounted";
  expect_one_error(remapfs({"unmount", map_}), 2, "in use");
  expect_one_error(remapfs({"unmount", map_, "--force"}), 2, loop);
  ASSERT_EQ(::kill(daemon(), SIGTERM), 0);
  EXPECT_EQ(read_bytes(top + "/file", 0, 10), "kept");
  EXPECT_EQ(status(map_)["mounted"], true);
  ASSERT_EQ(run_program({"umount", top}).exit_code, 0);
  ran = remapfs({"detach", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  expect_all_gone(loop, mnt_);
  // And everything is there again.
  const std::string again = attach({mnt_});
  ASSERT_EQ(run_program({"fsck.ext4", "-fn", again}).exit_code, 0);
  ASSERT_EQ(run_program({"mount", again, top}).exit_code, 0);
  EXPECT_EQ(read_bytes(top + "/file", 0, 10), "kept");
  ASSERT_EQ(run_program({"umount", top}).exit_code, 0);
  EXPECT_EQ(remapfs({"detach", again}).exit_code, 0);
}

TEST_F(CliAttach, OneOfTwoLoopDevicesIsDetachedAndTheOtherKeepsTheVolume) {
  create();
  const std::string first = attach({mnt_});
  const remapfs::testing::LoopDevice second(disk_);
  const Ran ran = remapfs({"detach", first});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("note: still attached, " + second.path()));
  EXPECT_FALSE(cli::file_below_loop(first));
  EXPECT_EQ(read_bytes(second.path(), 0, 4096), known_bytes(0, 4096));
  EXPECT_EQ(status(map_)["mounted"], true);
}

TEST_F(CliAttach, ReadOnly) {
  create();
  const std::string before = fingerprint();
  const std::string loop = attach({"--read-only"});
  EXPECT_EQ(losetup(loop, "RO"), "1");
  EXPECT_EQ(status(map_)["read_only"], true);
  EXPECT_EQ(read_bytes(loop, 0, 4096), known_bytes(0, 4096));
  EXPECT_NE(run_program({"dd", "if=/dev/zero", "of=" + loop, "bs=4096", "count=1", "conv=fsync"}).exit_code, 0);
  EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
  EXPECT_EQ(fingerprint(), before);
}

TEST_F(CliAttach, PartitionsAreLookedForWhenAskedFor) {
  create();
  // What is found depends on the kernel's partition parsers.
  for (const auto& [option, expected] : {std::pair{"--partscan", "1"}, {"", "0"}}) {
    const std::string loop = *option == '\0' ? attach() : attach({option});
    EXPECT_EQ(losetup(loop, "PARTSCAN"), expected);
    EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
  }
}

TEST_F(CliAttach, SectorSizeIsThePrimarys) {
  const remapfs::testing::LoopDevice primary(primary_, {.sector_size = 4096});
  ASSERT_EQ(remapfs({"create", map_, "--primary", primary.path(), "--spare", spare_, "--spare-size", "2M"}).exit_code,
            0);
  const std::string loop = attach();
  EXPECT_EQ(losetup(loop, "LOG-SEC"), "4096");
  EXPECT_EQ(read_bytes(loop, 4096, 4096), known_bytes(4096, 4096));
  EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
}

TEST_F(CliAttach, OtherLoopDevicesAreNotTouched) {
  create();
  const std::string image = dir_ / "image";
  write_bytes(image, (1 << 20U) - 1, "x");
  const remapfs::testing::LoopDevice other(image);
  expect_one_error(remapfs({"detach", other.path()}), 2, "not a loop device over a volume");
  EXPECT_TRUE(cli::file_below_loop(other.path()));
  expect_one_error(remapfs({"detach", "/dev/loop-control"}), 2, "not a loop device");
}

TEST_F(CliAttach, SeveralAtOnceMakeOneDevice) {
  create();
  std::vector<std::unique_ptr<Running>> commands;
  for (int i = 0; i < 4; ++i) {
    const std::string out = dir_ / ("out" + std::to_string(i));
    commands.push_back(std::make_unique<Running>(std::vector<std::string>{
        "sh", "-c", std::string("exec ") + REMAPFS_PROGRAM + " attach " + map_ + " > " + out}));
  }
  std::set<std::string> devices;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(commands[static_cast<std::size_t>(i)]->wait(), 0);
    devices.insert(run_program({"cat", dir_ / ("out" + std::to_string(i))}).out);
  }
  EXPECT_EQ(devices.size(), 1U);
  EXPECT_EQ(remapfs({"detach", map_}).exit_code, 0);
}

TEST_F(CliAttach, ReadOnlyIsNotServedByAWritableMount) {
  create();
  const std::string loop = attach({});
  expect_one_error(remapfs({"attach", map_, "--read-only"}), 2, "for writing");
  EXPECT_EQ(remapfs({"detach", loop}).exit_code, 0);
}

// Interrupted at any moment, it has either attached or left nothing.
TEST_F(CliAttach, CtrlCLeavesAllOrNothing) {
  create();
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(remapfs({"attach", map_}).exit_code, 0);
  const auto took = std::chrono::steady_clock::now() - start;
  ASSERT_EQ(remapfs({"detach", map_}).exit_code, 0);
  constexpr int kRounds = 30;
  int attached = 0;
  for (int i = 0; i < kRounds; ++i) {
    Running attach({REMAPFS_PROGRAM, "attach", map_});
    std::this_thread::sleep_for(took * i / kRounds);
    ::kill(attach.pid(), SIGINT);
    attach.wait();
    const bool mounted = status(map_)["mounted"];
    const Ran loops = run_program({"losetup", "-n", "-O", "NAME,BACK-FILE"});
    const bool looped = loops.out.find("/run/remapfs/") != std::string::npos;
    EXPECT_EQ(mounted, looped) << "round " << i << ": " << loops.out;
    if (!mounted) {
      EXPECT_NE(run_program({"pgrep", "-f", "attach " + map_}).exit_code, 0) << "round " << i << ": a daemon lives";
      continue;
    }
    ++attached;
    ASSERT_EQ(remapfs({"detach", map_}).exit_code, 0);
  }
  EXPECT_LT(attached, kRounds) << "never interrupted";
  EXPECT_EQ(remapfs({"check", map_}).exit_code, 0);
}

TEST_F(CliAttach, FailedMountLeavesNothing) {
  create();
  const std::string uuid = status(map_)["volume"]["uuid"];
  ASSERT_EQ(::rename(spare_.c_str(), (dir_ / "away").c_str()), 0);
  expect_one_error(remapfs({"attach", map_}), 32, spare_);
  EXPECT_EQ(::access(("/run/remapfs/" + uuid).c_str(), F_OK), -1);
}

TEST_F(CliAttach, VolumeWhoseDiskHasGoneIsDetachedAndSaysWhatIsLost) {
  const std::string failing = create_on_failing_disk();
  const std::string loop = attach({mnt_});
  UniqueFd device(::open(loop.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::pwrite(device.get(), "unsynced", 8, 0), 8);
  ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "on"}).exit_code, 0);
  EXPECT_NE(::fsync(device.get()), 0);
  EXPECT_NE(status(map_)["state"], "healthy");
  device.reset();

  expect_one_error(remapfs({"detach", map_}), 2, "stored");
  EXPECT_FALSE(cli::file_below_loop(loop));
  EXPECT_EQ(status(map_)["mounted"], false);
  ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "off"}).exit_code, 0);
  const std::string again = attach({mnt_});
  EXPECT_EQ(read_bytes(again, 4096, 4096), known_bytes(4096, 4096));
  EXPECT_EQ(remapfs({"detach", again}).exit_code, 0);
  EXPECT_EQ(run_program({REMAPFS_FAULTY_DISK, "unmount", failing}).exit_code, 0);
}

TEST_F(CliAttach, DetachIsRefusedWhileRequestsWaitAlsoAfterASyncThatFailed) {
  const std::string failing = create_on_failing_disk();
  mount({"-o", "on-loss=wait"});
  const std::string loop = attach();
  const std::string write = "printf %4096s | dd oflag=direct bs=4096 status=none of=";
  ASSERT_EQ(run_program({"sh", "-c", write + loop}).exit_code, 0);
  ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "on"}).exit_code, 0);
  ASSERT_NE(run_program({"sync", loop}).exit_code, 0);
  EXPECT_EQ(status(map_)["state"], "failed");
  EXPECT_EQ(status(map_)["suspended"], true);
  const std::string answer = dir_ / "answer";
  {
    Running reader({"dd", "if=" + loop, "iflag=direct", "of=/dev/null", "bs=4096", "count=1", "status=none"});
    // Should it wait too, nothing could end it before the device is back.
    const Running detach({"sh", "-c", "! $0 detach $1 2> $2 && touch $2.refused", REMAPFS_PROGRAM, map_, answer});
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(answer + ".refused"); }, std::chrono::seconds(10)))
        << "detach waits for the device itself";
    EXPECT_THAT(read_bytes(answer, 0, std::filesystem::file_size(answer)), HasSubstr("waits for a device"));
    ASSERT_EQ(run_program({REMAPFS_FAULTY_DISK, "gone", failing, "off"}).exit_code, 0);
    EXPECT_EQ(remapfs({"resume", map_}).exit_code, 0);
    EXPECT_EQ(reader.wait(), 0);
  }
  EXPECT_EQ(status(map_)["suspended"], false);
  static_cast<void>(remapfs({"detach", map_}));  // tells of the loss, when the first flush is its
  expect_all_gone(loop, mnt_);
  EXPECT_EQ(run_program({REMAPFS_FAULTY_DISK, "unmount", failing}).exit_code, 0);
}

TEST_F(CliAttach, DaemonKilledUnderALoopDeviceIsCleanedUpByDetach) {
  create();
  const std::string loop = attach({mnt_});
  const pid_t process = daemon();
  kill_daemon();
  ASSERT_TRUE(ends_within(process, std::chrono::seconds(30)));
  expect_one_error(remapfs({"unmount", map_, "--force"}), 2, loop);
  const Ran ran = remapfs({"detach", map_});
  if (ran.exit_code != 0) expect_one_error(ran, 2, "detached, but what was written last is not stored");
  expect_all_gone(loop, mnt_);
  const std::string again = attach({mnt_});
  EXPECT_EQ(read_bytes(again, 0, 4096), known_bytes(0, 4096));
  EXPECT_EQ(remapfs({"detach", again}).exit_code, 0);
}

}  // namespace
}  // namespace remapfs::e2e
