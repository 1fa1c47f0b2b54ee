// SPDX-License-Identifier: Apache-2.0
#include "fuse/mount_point.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fuse/mount_table.hpp"

namespace remapfs::fuse {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = fs::temp_directory_path() / "remapfs-mount-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(MountTable, LineIsTakenApartAndUnescaped) {
  const auto entry = parse_mount_line(
      R"(36 35 0:49 / /mnt/a\040b\134c rw,nosuid shared:1 master:2 - fuse.remapfs /maps/x\054y\011z.map rw,user_id=0)");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->device_major, 0U);
  EXPECT_EQ(entry->device_minor, 49U);
  EXPECT_EQ(entry->mount_point, "/mnt/a b\\c");
  EXPECT_EQ(entry->type, "fuse.remapfs");
  EXPECT_EQ(entry->source, "/maps/x,y\tz.map");
}

TEST(MountTable, LineWithoutOptionalFieldsIsUnderstood) {
  const auto entry = parse_mount_line("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->mount_point, "/");
  EXPECT_EQ(entry->type, "ext4");
}

TEST(MountTable, DamagedLinesAreNotEntries) {
  for (const char* line : {"", "22", "22 1 254:0 / / rw,relatime ext4 /dev/vda rw", "22 1 254 / / rw - ext4 x rw",
                           "22 1 a:b / / rw - ext4 x rw", "22 1 254:0 / / rw -", "22 1 254:0 / / rw - ext4"}) {
    EXPECT_FALSE(parse_mount_line(line)) << line;
  }
}

TEST(MountTable, ProcIsFoundAndAnOrdinaryFolderIsNot) {
  const auto proc = find_mount("/proc");
  ASSERT_TRUE(proc && *proc);
  EXPECT_EQ((*proc)->type, "proc");
  const Folder folder;
  const auto none = find_mount(folder.path());
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
}

TEST(MountTable, CanonicalPathResolvesLinksAndDots) {
  const Folder folder;
  fs::create_directory(folder.path() / "real");
  fs::create_symlink("real", folder.path() / "link");
  const auto path = canonical_mount_point(folder.path() / "." / "link" / ".." / "link" / "");
  ASSERT_TRUE(path);
  EXPECT_EQ(*path, fs::canonical(folder.path()) / "real");
}

TEST(MountOptions, CommasAndBackslashesOfTheSourceAreEscapedForLibfuse) {
  MountOptions options;
  options.source = R"(/maps/a,b\c d.map)";
  options.max_read = 4096;
  EXPECT_EQ(mount_option_string(options, false),
            R"(subtype=remapfs,default_permissions,nosuid,nodev,max_read=4096,fsname=/maps/a\,b\\c d.map)");
}

TEST(MountOptions, WordsAreAppended) {
  MountOptions options;
  options.source = "m";
  options.read_only = true;
  options.extra = {"noexec", "noatime"};
  const std::string text = mount_option_string(options, true);
  EXPECT_NE(text.find(",fsname=m,ro,allow_other,noexec,noatime"), std::string::npos) << text;
}

MountOptions plain() {
  MountOptions options;
  options.source = "/maps/test.map";
  return options;
}

TEST(MountFuse, MissingMountPointIsNotFoundAndSaysSoInOneLine) {
  const auto channel = mount_fuse("/nowhere/to/be/found", plain());
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code, Errc::not_found);
  EXPECT_EQ(channel.error().message.find('\n'), std::string::npos);
  EXPECT_NE(channel.error().message.find("/nowhere/to/be/found"), std::string::npos);
}

TEST(MountFuse, DeviceNodeIsNoMountPoint) {
  const auto channel = mount_fuse("/dev/null", plain());
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code, Errc::invalid);
}

TEST(UnmountFuse, FolderWithoutAMountIsNotFound) {
  const Folder folder;
  const auto done = unmount_fuse(folder.path());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::not_found);
}

}  // namespace
}  // namespace remapfs::fuse
