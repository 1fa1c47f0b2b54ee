// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "e2e/cli/workspace.hpp"

// Bad input: each one clear line, the exit code of the contract, and nothing changed. Afterwards the right pair of map
// and members still mounts.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;

class CliBadInput : public Workspace {
 protected:
  void SetUp() override {
    create();
    ASSERT_EQ(remapfs({"add", map_, "1-3"}).exit_code, 0);
  }

  // mount refuses with this in the message and changes nothing.
  void expect_mount_refused(const std::string& part) {
    const std::string before = fingerprint();
    expect_one_error(remapfs({"mount", map_, mnt_}), 32, part);
    expect_one_error(remapfs({"mount", map_, mnt_, "-o", "ro"}), 32, part);
    EXPECT_EQ(fingerprint(), before);
    EXPECT_NE(run_program({"mountpoint", "-q", mnt_}).exit_code, 0) << "nothing stays mounted";
  }
  void expect_mounts_again() {
    mount();
    EXPECT_EQ(read_bytes(disk_, 0, 1 << 16U), known_bytes(0, 1 << 16U));
    unmount();
    EXPECT_EQ(remapfs({"check", map_}).exit_code, 0);
  }
  void copy(const std::string& from, const std::string& to) {
    ASSERT_EQ(run_program({"cp", "--sparse=never", from, to}).exit_code, 0);
  }
  void sql(const std::string& path, const std::string& statement) {
    const Ran ran = run_program({"sqlite3", path, statement});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }

  std::string saved_ = dir_ / "saved";
};

TEST_F(CliBadInput, MissingMap) {
  ASSERT_EQ(::rename(map_.c_str(), saved_.c_str()), 0);
  expect_mount_refused(map_);
  for (const char* verb : {"status", "list", "events", "check", "destroy", "attach", "detach", "unmount", "resume"}) {
    expect_one_error(remapfs({verb, map_}), 2, map_);
  }
  ASSERT_EQ(::rename(saved_.c_str(), map_.c_str()), 0);
  expect_mounts_again();
}

TEST_F(CliBadInput, ForeignMaps) {
  copy(map_, saved_);
  const std::string foreign[] = {"this is no database, though long enough to be one" + std::string(8192, '.'), "",
                                 std::string(100, '\0')};
  for (const std::string& bytes : foreign) {
    ASSERT_EQ(::truncate(map_.c_str(), 0), 0);
    write_bytes(map_, 0, bytes);
    expect_mount_refused(map_);
    expect_one_error(remapfs({"add", map_, "1"}), 2, map_);
    expect_one_error(remapfs({"destroy", map_}), 2, map_);
  }
  ASSERT_EQ(::unlink(map_.c_str()), 0);
  sql(map_, "create table t (a); insert into t values (1)");
  expect_mount_refused(map_);
  copy(saved_, map_);
  expect_mounts_again();
}

TEST_F(CliBadInput, MapNewerThanTheProgram) {
  copy(map_, saved_);
  sql(map_, "pragma user_version = 1000");
  expect_mount_refused("newer");
  expect_one_error(remapfs({"status", map_}), 2, "newer");
  copy(saved_, map_);
  expect_mounts_again();
}

TEST_F(CliBadInput, CorruptDatabases) {
  copy(map_, saved_);
  // Behind the header of the file: the list of its tables; and all pages but the first.
  const std::size_t size = std::filesystem::file_size(map_);
  for (const auto& [offset, length] : {std::pair<std::size_t, std::size_t>{100, 64}, {4096, size - 4096}}) {
    write_bytes(map_, offset, std::string(length, '\xa5'));
    expect_mount_refused(map_);
    EXPECT_EQ(remapfs({"check", map_}).exit_code, 2);
    copy(saved_, map_);
  }
  ASSERT_EQ(::truncate(map_.c_str(), 4096), 0);
  expect_mount_refused(map_);
  copy(saved_, map_);
  expect_mounts_again();
}

TEST_F(CliBadInput, EarlierCopyOfTheMapPutBack) {
  copy(map_, saved_);
  ASSERT_EQ(remapfs({"add", map_, "100-110"}).exit_code, 0);
  const std::string current = dir_ / "current";
  copy(map_, current);
  copy(saved_, map_);
  expect_mount_refused("old");
  expect_one_error(remapfs({"add", map_, "50"}), 2, map_);
  copy(current, map_);
  expect_mounts_again();
}

TEST_F(CliBadInput, EarlierCopyOfTheSparePutBack) {
  copy(spare_, saved_);
  ASSERT_EQ(remapfs({"add", map_, "100-110"}).exit_code, 0);
  const std::string current = dir_ / "current";
  copy(spare_, current);
  copy(saved_, spare_);
  expect_mount_refused(spare_);
  copy(current, spare_);
  expect_mounts_again();
}

TEST_F(CliBadInput, WrongOrSwappedSpare) {
  copy(spare_, saved_);
  const std::string other_spare = dir_ / "other.spare";
  const std::string image = dir_ / "image";
  copy(primary_, image);
  ASSERT_EQ(remapfs({"create", dir_ / "other.map", "--primary", image, "--spare", other_spare, "--spare-size", "2M"})
                .exit_code,
            0);
  copy(other_spare, spare_);
  expect_mount_refused(spare_);
  ASSERT_EQ(::truncate(spare_.c_str(), 0), 0);
  ASSERT_EQ(::truncate(spare_.c_str(), 2 << 20U), 0);
  expect_mount_refused(spare_);
  ASSERT_EQ(::truncate(spare_.c_str(), 1 << 20U), 0);
  expect_mount_refused(spare_);
  copy(saved_, spare_);
  expect_mounts_again();
}

TEST_F(CliBadInput, PrimaryOfAnotherSize) {
  ASSERT_EQ(::truncate(primary_.c_str(), kPrimaryBytes + 4096), 0);
  expect_mount_refused(primary_);
  ASSERT_EQ(::truncate(primary_.c_str(), kPrimaryBytes - 4096), 0);
  expect_mount_refused(primary_);
  ASSERT_EQ(::truncate(primary_.c_str(), kPrimaryBytes), 0);
  write_bytes(primary_, kPrimaryBytes - 4096, known_bytes(kPrimaryBytes - 4096, 4096));
  expect_mounts_again();
}

TEST_F(CliBadInput, WriteProtectedDevice) {
  const std::string image = dir_ / "image";
  write_bytes(image, 0, known_bytes(0, 1U << 20U));
  const Ran made = run_program({"losetup", "--find", "--show", "--read-only", image});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::string loop = made.out.substr(0, made.out.find('\n'));
  const std::string map = dir_ / "protected.map";
  expect_one_error(remapfs({"create", map, "--primary", loop, "--spare", dir_ / "slots", "--spare-size", "2M"}), 2,
                   "write-protected");
  EXPECT_EQ(::access(map.c_str(), F_OK), -1);
  EXPECT_EQ(run_program({"losetup", "--detach", loop}).exit_code, 0);
}

TEST_F(CliBadInput, MissingPrimary) {
  ASSERT_EQ(::rename(primary_.c_str(), saved_.c_str()), 0);
  expect_mount_refused(primary_);
  ASSERT_EQ(::rename(saved_.c_str(), primary_.c_str()), 0);
  expect_mounts_again();
}

TEST_F(CliBadInput, MountPointBusyOrUnfit) {
  const std::string before = fingerprint();
  ASSERT_EQ(::mount("none", mnt_.c_str(), "tmpfs", 0, "size=64k"), 0);
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, mnt_);
  ASSERT_EQ(::umount2(mnt_.c_str(), 0), 0);
  expect_one_error(remapfs({"mount", map_, dir_ / "none"}), 32, "none");
  expect_one_error(remapfs({"mount", map_, "/dev/null"}), 32, "/dev/null");
  EXPECT_EQ(run_program({"sqlite3", "-readonly", map_, "pragma integrity_check"}).out, "ok\n");
  expect_mounts_again();
}

TEST_F(CliBadInput, SecondUseOfMapAndMembersIsRefused) {
  mount();
  const std::string second = dir_ / "second";
  std::filesystem::create_directory(second);
  expect_one_error(remapfs({"mount", map_, second}), 32, map_);
  std::filesystem::create_symlink(map_, dir_ / "link");
  expect_one_error(remapfs({"mount", dir_ / "link", second}), 32, map_);
  // A copy of the map is another file, but its members are the same.
  copy(map_, dir_ / "copy");
  expect_one_error(remapfs({"mount", dir_ / "copy", second}), 32, "");
  expect_one_error(remapfs({"status", dir_ / "copy"}), 2, "another copy of this map is mounted");
  EXPECT_EQ(read_bytes(disk_, 0, 4096), known_bytes(0, 4096));
}

TEST_F(CliBadInput, BlocksOutOfRange) {
  const std::string before = fingerprint();
  for (const char* verb : {"add", "remove", "retest", "mark-lost", "clear-lost"}) {
    expect_one_error(remapfs({verb, map_, "4096"}), 2, "block 4096 is out of range");
    expect_one_error(remapfs({verb, map_, "0xfffffffffffffffe"}), 2, "out of range");
  }
  mount();
  for (const char* verb : {"add", "remove", "retest", "mark-lost", "clear-lost"}) {
    expect_one_error(remapfs({verb, map_, "4096-9999999999"}), 2, "block 4096 is out of range");
  }
  unmount();
  EXPECT_EQ(run_program({"sqlite3", map_, "select count(*) from remaps"}).out, "3\n");
}

// The map on a small file system of its own, which is then filled.
class CliFullDisk : public Workspace {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(small_);
    ASSERT_EQ(::mount("none", small_.c_str(), "tmpfs", 0, "size=1m"), 0);
    map_ = small_ + "/volume.map";
  }
  void TearDown() override { std::ignore = remapfs({"unmount", map_}); }
  void fill() {
    std::ofstream file(small_ + "/filler", std::ios::binary);
    const std::string chunk(4096, 'f');
    while (file.write(chunk.data(), static_cast<std::streamsize>(chunk.size())).flush()) {
    }
  }
  std::string small_ = dir_ / "small";
};

TEST_F(CliFullDisk, CreateLeavesNothing) {
  fill();
  expect_one_error(remapfs({"create", map_, "--primary", primary_, "--spare", spare_, "--spare-size", "2M"}), 2,
                   small_);
  EXPECT_EQ(::access(spare_.c_str(), F_OK), -1);
  EXPECT_EQ(run_program({"ls", small_}).out, "filler\n");
}

TEST_F(CliFullDisk, RelocationIsRefusedAndDataStays) {
  create();
  mount();
  fill();
  const Ran ran = remapfs({"add", map_, "0-3000"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("remapfs: "));
  EXPECT_EQ(read_bytes(disk_, 0, 1 << 20U), known_bytes(0, 1 << 20U));
  ASSERT_EQ(::unlink((small_ + "/filler").c_str()), 0);
  ASSERT_EQ(remapfs({"unmount", map_}).exit_code, 0);
  EXPECT_EQ(remapfs({"check", map_}).exit_code, 0);
  mount();
  EXPECT_EQ(read_bytes(disk_, 0, kPrimaryBytes), known_bytes(0, kPrimaryBytes));
}

}  // namespace
}  // namespace remapfs::e2e
