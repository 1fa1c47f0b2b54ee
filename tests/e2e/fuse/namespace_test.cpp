// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <filesystem>

#include "mounted_disk.hpp"
#include "open_file.hpp"

namespace remapfs::fuse::test {
namespace {

struct stat status_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status;
}

void expect_untouched(const MountedDisk& disk) {
  EXPECT_EQ(status_of(disk.path()).st_size, static_cast<off_t>(kMiB));
  const auto bytes = disk.memory().bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], SharedMemory::pattern(i)) << i;
}

ServeOptions file_root() {
  ServeOptions options;
  options.root = RootKind::file;
  return options;
}

ServeOptions read_only() {
  ServeOptions options;
  options.mount.read_only = true;
  return options;
}

TEST(Namespace, DirectoryShowsOneFileOfTheDisksSize) {
  const MountedDisk disk(kMiB);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(disk.mount_point())) {
    names.push_back(entry.path().filename());
  }
  EXPECT_EQ(names, std::vector<std::string>{"disk"});
  const struct stat status = status_of(disk.path());
  EXPECT_EQ(status.st_mode, S_IFREG | 0600U);
  EXPECT_EQ(status.st_uid, ::geteuid());
  EXPECT_EQ(status.st_size, static_cast<off_t>(kMiB));
  EXPECT_EQ(status.st_blocks, static_cast<blkcnt_t>(kMiB / 512));
  EXPECT_EQ(status.st_blksize, 4096);
}

TEST(Namespace, RegularFileMountPointIsTheDiskItself) {
  const MountedDisk disk(kMiB, file_root());
  const struct stat status = status_of(disk.mount_point());
  EXPECT_EQ(status.st_mode, S_IFREG | 0600U);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kMiB));
  const UniqueFd file = open_file(disk.mount_point(), O_RDWR);
  EXPECT_EQ(write_at(file, bytes_of(100, 3), 1000), 100);
  std::vector<std::byte> buffer(100);
  EXPECT_EQ(read_at(file, buffer, 1000), 100);
  EXPECT_EQ(buffer, bytes_of(100, 3));
}

TEST(Namespace, ShellRedirectionAndOpenWithTruncationChangeNothing) {
  for (const auto& options : {ServeOptions{}, file_root()}) {
    const MountedDisk disk(kMiB, options);
    const auto outcome = run(": > \"$1\"", {disk.path()});
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    expect_untouched(disk);
    EXPECT_TRUE(open_file(disk.path(), O_RDWR | O_TRUNC));
    EXPECT_EQ(error_of(::truncate(disk.path().c_str(), 0)), 0);
    expect_untouched(disk);
  }
}

TEST(Namespace, CopyingOverTheDiskKeepsItsSizeAndTail) {
  const MountedDisk disk(kMiB);
  const auto outcome =
      run("head -c 5000 /dev/zero > /mnt/image && cp /mnt/image \"$1\" && cat /mnt/image > \"$1\" && "
          "dd if=/mnt/image of=\"$1\" bs=1000 status=none",
          {disk.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(status_of(disk.path()).st_size, static_cast<off_t>(kMiB));
  const auto bytes = disk.memory().bytes();
  EXPECT_TRUE(std::all_of(bytes.begin(), bytes.begin() + 5000, [](std::byte b) { return b == std::byte{0}; }));
  for (std::size_t i = 5000; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], SharedMemory::pattern(i));
}

TEST(Namespace, OtherSizesAndTruncationThroughAHandleAreNotPermitted) {
  const MountedDisk disk(kMiB);
  const UniqueFd file = open_file(disk.path(), O_RDWR);
  for (const off_t size : {off_t{0}, off_t{1}, off_t{kMiB - 1}, off_t{kMiB + 1}}) {
    EXPECT_EQ(error_of(::ftruncate(file.get(), size)), EPERM) << size;
    if (size != 0) {
      EXPECT_EQ(error_of(::truncate(disk.path().c_str(), size)), EPERM) << size;
    }
  }
  for (const char* size : {"0", "4096", "2M"}) {
    const auto outcome = run("truncate -s \"$2\" \"$1\"", {disk.path(), size});
    EXPECT_EQ(outcome.status, 1) << size;
    EXPECT_NE(outcome.output.find("Operation not permitted"), std::string::npos) << outcome.output;
  }
  EXPECT_EQ(error_of(::ftruncate(file.get(), kMiB)), 0);
  expect_untouched(disk);
}

TEST(Namespace, NothingCanBeCreatedRenamedOrRemoved) {
  const MountedDisk disk(kMiB);
  const std::string other = disk.mount_point() + "/other";
  EXPECT_FALSE(open_file(other, O_RDONLY));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_LT(::open(other.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), 0);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(error_of(::mkdir(other.c_str(), 0700)), EPERM);
  EXPECT_EQ(error_of(::mknod(other.c_str(), S_IFREG | 0600, 0)), EPERM);
  EXPECT_EQ(error_of(::symlink("disk", other.c_str())), EPERM);
  EXPECT_EQ(error_of(::link(disk.path().c_str(), other.c_str())), EPERM);
  EXPECT_EQ(error_of(::rename(disk.path().c_str(), other.c_str())), EPERM);
  EXPECT_EQ(error_of(::unlink(disk.path().c_str())), EPERM);
  expect_untouched(disk);
}

TEST(Namespace, OwnerModeAndTimesChangeAsOnADeviceNode) {
  const MountedDisk disk(kMiB);
  EXPECT_EQ(::chmod(disk.path().c_str(), 04640), 0);
  EXPECT_EQ(::chown(disk.path().c_str(), 1, 2), 0);
  const std::array<timespec, 2> times{{{1000, 5}, {-7, 500}}};
  EXPECT_EQ(::utimensat(AT_FDCWD, disk.path().c_str(), times.data(), 0), 0);
  const struct stat status = status_of(disk.path());
  EXPECT_EQ(status.st_mode, S_IFREG | 0640U) << "set-user-ID means nothing on a disk";
  EXPECT_EQ(status.st_uid, 1U);
  EXPECT_EQ(status.st_gid, 2U);
  EXPECT_EQ(status.st_atim.tv_sec, 1000);
  EXPECT_EQ(status.st_mtim.tv_sec, -7);
  EXPECT_EQ(status.st_mtim.tv_nsec, 500);

  const UniqueFd file = open_file(disk.path(), O_RDWR);
  EXPECT_EQ(write_at(file, bytes_of(1, 1), 0), 1);
  EXPECT_GT(status_of(disk.path()).st_mtim.tv_sec, 1000000) << "backups look at the time of the last change";
}

TEST(Namespace, ReadOnlyDiskCannotBeOpenedForWriting) {
  const MountedDisk disk(kMiB, read_only());
  EXPECT_EQ(status_of(disk.path()).st_mode, S_IFREG | 0400U);
  for (const int flags : {O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC}) {
    EXPECT_FALSE(open_file(disk.path(), flags));
    EXPECT_EQ(errno, EROFS);
  }
  EXPECT_TRUE(open_file(disk.path(), O_RDONLY));
}

TEST(Namespace, DiskThatIsReadOnlyUnderAWritableMountRefusesWrites) {
  const MountedDisk disk(kMiB);
  const UniqueFd opened_before = open_file(disk.path(), O_RDWR);
  disk.memory().state().read_only = true;
  EXPECT_EQ(write_at(opened_before, bytes_of(1, 1), 0), -EROFS);
  EXPECT_EQ(error_of(::fallocate(opened_before.get(), 0, 0, 4096)), EROFS);
  EXPECT_FALSE(open_file(disk.path(), O_RDWR));
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(error_of(::mkdir((disk.mount_point() + "/x").c_str(), 0700)), EROFS);
  expect_untouched(disk);
}

TEST(Namespace, DfShowsTheDisksSizeAndNoFreeSpace) {
  const MountedDisk disk(kMiB);
  struct statvfs usage {};
  ASSERT_EQ(::statvfs(disk.path().c_str(), &usage), 0);
  EXPECT_EQ(usage.f_blocks * usage.f_frsize, kMiB);
  EXPECT_EQ(usage.f_bfree, 0U);
  EXPECT_EQ(usage.f_bavail, 0U);
}

TEST(Namespace, ThereAreNoExtendedAttributes) {
  const MountedDisk disk(kMiB);
  EXPECT_LT(::getxattr(disk.path().c_str(), "user.x", nullptr, 0), 0);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(error_of(::setxattr(disk.path().c_str(), "user.x", "y", 1, 0)), EOPNOTSUPP);
}

TEST(Namespace, CopyFileRangeFallsBackToCopying) {
  const MountedDisk disk(kMiB);
  const auto outcome = run("cp --reflink=never \"$1\" /mnt/copy && cmp \"$1\" /mnt/copy", {disk.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace remapfs::fuse::test
