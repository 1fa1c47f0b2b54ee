// SPDX-License-Identifier: Apache-2.0
// Mounting, controlling and unmounting.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "mounted_disk.hpp"

namespace faulty_test {
namespace {

using testing::HasSubstr;
using testing::Not;

// Waits up to half a minute for a process to end.
bool ends(int pidfd) {
  pollfd watched{pidfd, POLLIN, 0};
  return ::poll(&watched, 1, 30'000) == 1;
}
int open_process(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

bool is_mounted(const std::string& path) { return run("grep -q ' " + path + " ' /proc/self/mounts").code == 0; }

void expect_one_line(const Ran& ran, int code, const std::string& part) {
  EXPECT_EQ(ran.code, code) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("faulty-disk: "));
  EXPECT_THAT(ran.err, HasSubstr(part));
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

TEST(FaultyDiskControl, RulesCanBeSetListedAndCleared) {
  const MountedDisk disk;
  EXPECT_EQ(disk.ask("set", "sectors=1 sectors=2,op=read").out, "1\n2\n");
  EXPECT_EQ(run(FAULTY_DISK " set " + disk.file() + " count=10,seed=4").out, "3\n");
  ASSERT_EQ(disk.rules().size(), 3U);
  EXPECT_EQ(disk.rules()[1]["rule"], "sectors=2,op=read,error=EIO");
  EXPECT_EQ(disk.rules()[2]["physical_sectors"], 10);
  EXPECT_THAT(disk.ask("list").out, HasSubstr("sectors=1,op=both,error=EIO"));
  disk.must("clear", "1 3");
  ASSERT_EQ(disk.rules().size(), 1U);
  EXPECT_EQ(disk.rules()[0]["id"], 2);
  expect_one_line(disk.ask("clear", "9"), 2, "no rule 9");
  disk.must("clear", "all");
  EXPECT_TRUE(disk.rules().empty());
}

TEST(FaultyDiskControl, WrongRulesChangeNothing) {
  const MountedDisk disk;
  expect_one_line(disk.ask("set", "sectors=1 sectors=x"), 1, "'x' is not a sector");
  expect_one_line(disk.ask("set", "sectors=1 sectors=999999999"), 2, "past the end of the disk");
  expect_one_line(disk.ask("set", "list=/nowhere/list"), 2, "/nowhere/list");
  expect_one_line(disk.ask("set"), 1, "RULE is required");
  EXPECT_TRUE(disk.rules().empty());
}

TEST(FaultyDiskControl, ListFileIsFoundFromTheCallersDirectory) {
  const MountedDisk disk;
  std::ofstream(disk.directory() / "bad.txt") << "# from badblocks\n10\n20-29\n";
  EXPECT_EQ(run("cd " + disk.directory().path() + " && " FAULTY_DISK " set mnt list=bad.txt,op=read").code, 0);
  EXPECT_EQ(disk.rules()[0]["physical_sectors"], 11);
}

TEST(FaultyDiskControl, RuleFileAppliesFromTheStart) {
  const TestDirectory directory;
  std::ofstream(directory / "rules") << "# lab\nsectors=0,op=read\nlist=bad.txt,op=write\n";
  std::ofstream(directory / "bad.txt") << "5\n";
  run("truncate -s 1M " + directory / "image" + "; mkdir " + directory / "mnt");
  const Ran mounted = run("cd " + directory.path() + " && " FAULTY_DISK " mount image mnt --faults rules");
  ASSERT_EQ(mounted.code, 0) << mounted.err;
  const File file(directory / "mnt/disk", O_RDWR | O_DIRECT);
  EXPECT_EQ(file.read_sectors(0, 1), EIO);
  EXPECT_EQ(file.write_sectors(5, 1, std::byte{1}), EIO);
  EXPECT_EQ(file.write_sectors(6, 1, std::byte{1}), 0);
}

TEST(FaultyDiskControl, RegularFileBecomesTheDisk) {
  const TestDirectory directory;
  run("truncate -s 1M " + directory / "image" + "; touch " + directory / "mnt");
  ASSERT_EQ(run(FAULTY_DISK " mount " + directory / "image" + " " + directory / "mnt").code, 0);
  ASSERT_EQ(run(FAULTY_DISK " set " + directory / "mnt" + " sectors=1").code, 0);
  {
    const File file(directory / "mnt", O_RDWR | O_DIRECT);
    EXPECT_EQ(::lseek(file.fd(), 0, SEEK_END), 1 << 20);
    EXPECT_EQ(file.read_sectors(0, 1), 0);
    EXPECT_EQ(file.read_sectors(1, 1), EIO);
  }
  EXPECT_EQ(run(FAULTY_DISK " unmount " + directory / "mnt").code, 0);
  EXPECT_EQ(run("stat -c %s " + directory / "mnt").out, "0\n");
}

TEST(FaultyDiskControl, MountThatFailsSaysWhyAndLeavesNothing) {
  const TestDirectory directory;
  const std::string mount = FAULTY_DISK " mount ";
  const std::string image = directory / "image";
  const std::string point = directory / "mnt";
  run("mkdir " + point);
  expect_one_line(run(mount + image + " " + point), 2, "cannot open image, " + image);
  run("touch " + image);
  expect_one_line(run(mount + image + " " + point), 2, "image is empty");
  run("truncate -s 1M " + image);
  expect_one_line(run(mount + image + " " + directory / "none"), 2, "no mount point");
  expect_one_line(run(mount + image + " " + point + " --faults " + directory / "none"), 2, "cannot open list");
  std::ofstream(directory / "rules") << "sectors=1\nsectors=5000000\n";
  expect_one_line(run(mount + image + " " + point + " --faults " + directory / "rules"), 2, "past the end");
  expect_one_line(run(mount + image + " " + point + " --sector-size 1000"), 1, "sector-size");
  EXPECT_FALSE(is_mounted(point));
}

TEST(FaultyDiskControl, ImageIsServedOnce) {
  const MountedDisk disk;
  run("mkdir " + disk.directory() / "other");
  expect_one_line(run(FAULTY_DISK " mount " + disk.image() + " " + disk.directory() / "other"), 2, "image is in use");
}

TEST(FaultyDiskControl, PlaceWithoutADiskIsNamed) {
  const TestDirectory directory;
  expect_one_line(run(FAULTY_DISK " stats " + directory.path()), 2, "not a faulty disk of yours, " + directory.path());
  expect_one_line(run(FAULTY_DISK " stats " + directory / "none"), 2, "cannot look at the disk");
  expect_one_line(run(FAULTY_DISK), 1, "subcommand is required");
}

TEST(FaultyDiskControl, UnmountWaitsUntilTheProcessHasEnded) {
  const MountedDisk disk;
  pollfd server{open_process(disk.server()), POLLIN, 0};
  disk.must("unmount");
  EXPECT_EQ(::poll(&server, 1, 0), 1) << "still running";
  ::close(server.fd);
  EXPECT_FALSE(is_mounted(disk.mount_point()));
  // The image is free at once.
  EXPECT_EQ(run(FAULTY_DISK " mount " + disk.image() + " " + disk.mount_point()).code, 0);
}

TEST(FaultyDiskControl, BusyDiskNamesItsUsersAndKeepsServing) {
  const MountedDisk disk;
  const pid_t server = disk.server();
  {
    const File file(disk.file(), O_RDONLY);
    const Ran busy = disk.ask("unmount");
    expect_one_line(busy, 2, "busy, " + disk.mount_point());
    EXPECT_THAT(busy.err, HasSubstr("(pid " + std::to_string(::getpid()) + ")"));
    ASSERT_EQ(::kill(server, SIGTERM), 0);
    // Served after the signal is taken: the answer to stats comes from the same process.
    EXPECT_EQ(disk.server(), server);
    EXPECT_EQ(file.read_sectors(0, 8), 0);
  }
  const int process = open_process(server);
  ASSERT_EQ(::kill(server, SIGTERM), 0);
  EXPECT_TRUE(ends(process));
  ::close(process);
  EXPECT_FALSE(is_mounted(disk.mount_point()));
}

TEST(FaultyDiskControl, DeadDisksMountCanBeRemoved) {
  const MountedDisk disk;
  const pid_t server = disk.server();
  const int process = open_process(server);
  ASSERT_EQ(::kill(server, SIGKILL), 0);
  EXPECT_TRUE(ends(process));
  ::close(process);
  expect_one_line(disk.ask("stats"), 2, "the process serving it died");
  disk.must("unmount");
  EXPECT_FALSE(is_mounted(disk.mount_point()));
}

TEST(FaultyDiskControl, ForegroundServesUntilASignal) {
  const TestDirectory directory;
  run("truncate -s 1M " + directory / "image" + "; mkdir " + directory / "mnt");
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(FAULTY_DISK, FAULTY_DISK, "mount", "-f", (directory / "image").c_str(), (directory / "mnt").c_str(),
            nullptr);
    ::_exit(127);
  }
  const int process = open_process(child);
  while (::access((directory / "mnt/disk").c_str(), F_OK) != 0 && ::kill(child, 0) == 0) ::sched_yield();
  EXPECT_TRUE(is_mounted(directory / "mnt"));
  ASSERT_EQ(::kill(child, SIGINT), 0);
  EXPECT_TRUE(ends(process));
  ::close(process);
  EXPECT_FALSE(is_mounted(directory / "mnt"));
}

TEST(FaultyDiskControl, SocketIsForItsOwnerOnly) {
  const MountedDisk disk;
  struct stat status {};
  ASSERT_EQ(::stat("/run/faulty-disk", &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST(FaultyDiskControl, ServerTakesCareOfMemoryPressure) {
  const MountedDisk disk;
  const auto process = disk.stats()["process"];
  EXPECT_EQ(process["memory_locked"], true);
  const Ran locked = run("grep VmLck /proc/" + std::to_string(disk.server()) + "/status");
  EXPECT_THAT(locked.out, Not(HasSubstr(" 0 kB")));
}

// Containers withhold CAP_SYS_RESOURCE even from root, so the kernel's part is played.
TEST(FaultyDiskControl, ServerIsAnIoFlusherBeforeItHasThreads) {
  const TestDirectory directory;
  const std::string log = directory / "log";
  ::setenv("LD_PRELOAD", GRANTED_PRCTL, 1);
  ::setenv("GRANTED_PRCTL_LOG", log.c_str(), 1);
  const MountedDisk disk;
  ::unsetenv("LD_PRELOAD");
  EXPECT_EQ(disk.stats()["process"]["io_flusher"], true);
  std::ifstream file(log);
  pid_t process = 0;
  int threads = 0;
  ASSERT_TRUE(file >> process >> threads);
  EXPECT_EQ(threads, 1);
  EXPECT_EQ(process, disk.server());
}

}  // namespace
}  // namespace faulty_test
