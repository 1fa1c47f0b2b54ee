// SPDX-License-Identifier: Apache-2.0
#include "control/socket_place.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temp_dir.hpp"

namespace remapfs {
namespace {

using ::testing::ElementsAre;

TEST(SocketPlace, RootHasOneSharedPlaceWhateverTheEnvironment) {
  const auto place = runtime_place(0, "/somewhere");
  EXPECT_EQ(place.directory, "/run/remapfs");
  EXPECT_TRUE(place.shared);
}

TEST(SocketPlace, UsersHaveTheirOwn) {
  EXPECT_EQ(runtime_place(4242, "/x/y").directory, "/x/y/remapfs");
  EXPECT_EQ(runtime_place(4242, "").directory, "/tmp/remapfs-4242");
  EXPECT_FALSE(runtime_place(4242, "").shared);
}

TEST(SocketPlace, RootLooksAtTheMountOwnersPlaceToo) {
  EXPECT_THAT(socket_candidates("U", 0, "", 4242),
              ElementsAre("/run/remapfs/U.sock", "/run/user/4242/remapfs/U.sock", "/tmp/remapfs-4242/U.sock"));
  EXPECT_THAT(socket_candidates("U", 0, "", 0), ElementsAre("/run/remapfs/U.sock"));
  EXPECT_THAT(socket_candidates("U", 4242, "/x", 0), ElementsAre("/x/remapfs/U.sock", "/run/remapfs/U.sock"));
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

TEST(SocketPlace, DirectoryIsMadePrivateWhateverTheUmask) {
  const testing::TempDir dir;
  const mode_t before = ::umask(0);
  const auto made = prepare_runtime_directory({dir / "own", false});
  ::umask(0777);
  const auto shared = prepare_runtime_directory({dir / "shared", true});
  ::umask(before);
  ASSERT_TRUE(made);
  ASSERT_TRUE(shared);
  EXPECT_EQ(mode_of(dir / "own"), 0700U);
  EXPECT_EQ(mode_of(dir / "shared"), 0755U);
  EXPECT_TRUE(prepare_runtime_directory({dir / "own", false}));
}

TEST(SocketPlace, DirectoryThatOthersCanWriteIsRefused) {
  const testing::TempDir dir;
  const std::string path = dir / "open";
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  const auto made = prepare_runtime_directory({path, false});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::permission);
}

TEST(SocketPlace, SymbolicLinkIsRefused) {
  const testing::TempDir dir;
  const std::string path = dir / "link";
  ASSERT_EQ(::symlink(dir.path().c_str(), path.c_str()), 0);
  EXPECT_FALSE(prepare_runtime_directory({path, false}));
}

}  // namespace
}  // namespace remapfs
