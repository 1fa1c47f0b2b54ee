// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "fuse/mount_table.hpp"
#include "mounted_disk.hpp"
#include "open_file.hpp"

namespace remapfs::fuse::test {
namespace {

constexpr uid_t kNobody = 65534;

bool is_mounted(const std::string& path) {
  const auto entry = find_mount(path);
  return entry && entry->has_value();
}

// Runs as another user; the exit status.
template <class Body>
int as_user(uid_t user, Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(user) != 0 || ::setuid(user) != 0) ::_exit(99);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Lifecycle, MountTableNamesTheMapAndTheOptions) {
  ServeOptions options;
  options.mount.source = "/maps/a b,c\\d.map";
  options.mount.extra = {"noexec"};
  const MountedDisk disk(kMiB, options);
  const auto entry = find_mount(disk.mount_point());
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->type, "fuse.remapfs");
  EXPECT_EQ((*entry)->source, options.mount.source);
  const auto line = run("grep ' /mnt/mount ' /proc/self/mountinfo");
  for (const char* word : {"nosuid", "nodev", "noexec", "default_permissions", "allow_other", "max_read=1048576"}) {
    EXPECT_NE(line.output.find(word), std::string::npos) << word << " in " << line.output;
  }
}

TEST(Lifecycle, WorkersHaveClonesAndTheKernelConfirmsTheLimits) {
  const MountedDisk disk(kMiB);
  EXPECT_TRUE(disk.greeting().starts_with(ServeOptions().rings ? "ok io_uring, " : "ok blocking, ")) << disk.greeting();
  EXPECT_NE(disk.greeting().find("4 workers on cloned descriptors"), std::string::npos) << disk.greeting();
  EXPECT_NE(disk.greeting().find("max_write 1048576"), std::string::npos) << disk.greeting();
  EXPECT_TRUE(disk.greeting().ends_with("max_background 256")) << disk.greeting();
}

TEST(Lifecycle, UnmountEndsTheServerInOrder) {
  for (const RootKind root : {RootKind::directory, RootKind::file}) {
    ServeOptions options;
    options.root = root;
    MountedDisk disk(kMiB, options);
    const auto done = unmount_fuse(disk.mount_point());
    EXPECT_TRUE(done) << describe(done.error());
    EXPECT_FALSE(is_mounted(disk.mount_point()));
    EXPECT_EQ(disk.wait_for_server(), 0);
  }
}

TEST(Lifecycle, UnmountWhileInUseIsBusyAndServingGoesOn) {
  MountedDisk disk(kMiB);
  UniqueFd file = open_file(disk.path(), O_RDWR);
  const auto refused = unmount_fuse(disk.mount_point());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_TRUE(is_mounted(disk.mount_point()));
  EXPECT_EQ(write_at(file, bytes_of(512, 1), 0), 512);
  EXPECT_TRUE(open_file(disk.path(), O_RDONLY));
  file.reset();
  EXPECT_TRUE(unmount_fuse(disk.mount_point()));
  EXPECT_EQ(disk.wait_for_server(), 0);
}

TEST(Lifecycle, SecondMountAtTheSamePlaceIsBusy) {
  const MountedDisk disk(kMiB);
  const auto second = mount_fuse(disk.mount_point(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
}

// On a file system of the test's own: were the check gone, a real one would be covered or taken away.
TEST(Lifecycle, OtherFileSystemsAreNeitherCoveredNorUnmounted) {
  const std::string place = "/mnt/other";
  ::mkdir(place.c_str(), 0755);
  ASSERT_EQ(::mount("other", place.c_str(), "tmpfs", 0, nullptr), 0);
  const auto covered = mount_fuse(place, {});
  ASSERT_FALSE(covered);
  EXPECT_EQ(covered.error().code, Errc::busy);
  const auto unmounted = unmount_fuse(place);
  ASSERT_FALSE(unmounted);
  EXPECT_EQ(unmounted.error().code, Errc::invalid);
  const auto entry = find_mount(place);
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->type, "tmpfs");
  ::umount2(place.c_str(), MNT_DETACH);
}

TEST(Lifecycle, DirectoryWithContentsIsCoveredAndComesBack) {
  ::mkdir("/mnt/mount", 0755);
  std::ofstream("/mnt/mount/hidden") << "x";
  {
    MountedDisk disk(kMiB);
    EXPECT_FALSE(std::filesystem::exists("/mnt/mount/hidden"));
    EXPECT_TRUE(unmount_fuse(disk.mount_point()));
    EXPECT_EQ(disk.wait_for_server(), 0);
  }
  EXPECT_TRUE(std::filesystem::remove("/mnt/mount/hidden"));
  ::rmdir("/mnt/mount");
}

TEST(Lifecycle, KilledServerLeavesNoHangAndItsMountCanBeCleanedUp) {
  MountedDisk disk(kMiB);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  disk.memory().state().hold_writes = true;
  ssize_t held = 0;
  std::thread writer([&] { held = write_at(file, bytes_of(4096, 1), 0); });
  while (disk.memory().state().writes_in_flight == 0) std::this_thread::yield();
  disk.signal(SIGKILL);
  writer.join();
  EXPECT_EQ(held, -ECONNABORTED);
  EXPECT_EQ(disk.wait_for_server(), -1);
  EXPECT_EQ(write_at(file, bytes_of(4096, 1), 0), -ENOTCONN);
  struct stat status {};
  EXPECT_EQ(error_of(::stat(disk.path().c_str(), &status)), ENOTCONN);
  const auto again = mount_fuse(disk.mount_point(), {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::busy);
}

TEST(Lifecycle, MountOfADeadServerCanBeUnmounted) {
  MountedDisk disk(kMiB);
  disk.signal(SIGKILL);
  disk.wait_for_server();
  const auto done = unmount_fuse(disk.mount_point());
  EXPECT_TRUE(done) << describe(done.error());
  EXPECT_FALSE(is_mounted(disk.mount_point()));
}

TEST(Lifecycle, StopAnswersTheRequestsInProcess) {
  MountedDisk disk(kMiB);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  disk.memory().state().hold_writes = true;
  ssize_t held = 0;
  std::thread writer([&] { held = write_at(file, bytes_of(4096, 1), 0); });
  while (disk.memory().state().writes_in_flight == 0) std::this_thread::yield();
  disk.signal(SIGTERM);
  disk.memory().state().hold_writes = false;
  writer.join();
  EXPECT_EQ(held, 4096);
  EXPECT_EQ(disk.wait_for_server(), 0);
}

TEST(Lifecycle, AbortedConnectionEndsTheServer) {
  MountedDisk disk(kMiB);
  const auto entry = find_mount(disk.mount_point());
  ASSERT_TRUE(entry && *entry);
  std::ofstream abort_file("/sys/fs/fuse/connections/" + std::to_string((*entry)->device_minor) + "/abort");
  ASSERT_TRUE(abort_file << "1" << std::flush);
  EXPECT_EQ(disk.wait_for_server(), 0);
}

TEST(Lifecycle, UserMountsServesAndUnmountsThroughFusermount) {
  for (const RootKind root : {RootKind::directory, RootKind::file}) {
    ServeOptions options;
    options.user = kNobody;
    options.root = root;
    options.mount.source = "/maps/a b,c.map";
    MountedDisk disk(kMiB, options);
    EXPECT_NE(disk.greeting().find("cloned descriptors"), std::string::npos) << disk.greeting();
    const auto entry = find_mount(disk.mount_point());
    ASSERT_TRUE(entry && *entry);
    EXPECT_EQ((*entry)->type, "fuse.remapfs");
    EXPECT_EQ((*entry)->source, "/maps/a b,c.map");

    EXPECT_EQ(as_user(kNobody,
                      [&] {
                        UniqueFd file = open_file(disk.path(), O_RDWR);
                        if (!file) return 1;
                        if (write_at(file, bytes_of(4096, 5), 0) != 4096) return 2;
                        if (error_of(::fsync(file.get())) != 0) return 3;
                        const auto busy = unmount_fuse(disk.mount_point());
                        if (busy || busy.error().code != Errc::busy) return 4;
                        file.reset();
                        return unmount_fuse(disk.mount_point()) ? 0 : 5;
                      }),
              0);
    EXPECT_EQ(disk.wait_for_server(), 0);
    EXPECT_EQ(disk.memory().bytes()[4095], std::byte{5});
  }
}

TEST(Lifecycle, UserMountIsClosedToOthers) {
  ServeOptions options;
  options.user = kNobody;
  const MountedDisk disk(kMiB, options);
  EXPECT_EQ(as_user(1, [&] { return open_file(disk.path(), O_RDONLY) ? 1 : errno; }), EACCES);
}

TEST(Lifecycle, OthersMayLookAtARootMountButNotOpenTheDisk) {
  const MountedDisk disk(kMiB);
  EXPECT_EQ(as_user(kNobody,
                    [&] {
                      struct stat status {};
                      if (::stat(disk.path().c_str(), &status) != 0) return 1;
                      return open_file(disk.path(), O_RDONLY) ? 2 : errno;
                    }),
            EACCES);
}

TEST(Lifecycle, RefusedUserMountSaysWhyInOneLine) {
  ::mkdir("/mnt/roots-own", 0755);
  EXPECT_EQ(as_user(kNobody,
                    [] {
                      const auto channel = mount_fuse("/mnt/roots-own", {});
                      if (channel || channel.error().code != Errc::permission) return 1;
                      const std::string& text = channel.error().message;
                      return text.find("no write access") == std::string::npos || text.find('\n') != std::string::npos
                                 ? 2
                                 : 0;
                    }),
            0);
}

TEST(Lifecycle, UserWhoMayNotOpenTheDeviceIsToldSo) {
  ::mkdir("/mnt/users-own", 0755);
  ASSERT_EQ(::chown("/mnt/users-own", kNobody, kNobody), 0);
  ASSERT_EQ(::chmod("/dev/fuse", 0600), 0);  // the node of this namespace
  EXPECT_EQ(as_user(kNobody,
                    [] {
                      const auto channel = mount_fuse("/mnt/users-own", {});
                      if (channel || channel.error().code != Errc::permission) return 1;
                      return channel.error().message.find("/dev/fuse: Permission denied") == std::string::npos ? 2 : 0;
                    }),
            0);
  ASSERT_EQ(::chmod("/dev/fuse", 0666), 0);
}

}  // namespace
}  // namespace remapfs::fuse::test
