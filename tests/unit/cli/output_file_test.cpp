// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.hpp"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

namespace fs = std::filesystem;

class OutputFiles : public ::testing::Test {
 protected:
  static std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()));
  }
  remapfs::testing::TempDir dir;
  std::string path = dir / "out";
};

TEST_F(OutputFiles, IsForItsOwnerUnlessItIsMeantForOthersOrWasThere) {
  const mode_t before = ::umask(0);
  const auto mode_after = [&](Readers readers) {
    auto file = OutputFile::create(path, readers);
    EXPECT_TRUE(file && (*file)->commit());
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 07777U;
  };
  EXPECT_EQ(mode_after(Readers::owner), 0600U);
  fs::remove(path);
  EXPECT_EQ(mode_after(Readers::everybody), 0666U);
  fs::permissions(path, fs::perms(0640));
  EXPECT_EQ(mode_after(Readers::owner), 0640U);
  EXPECT_EQ(mode_after(Readers::everybody), 0640U);
  ::umask(before);
}

TEST_F(OutputFiles, IsThereAsAWholeAfterTheCommitAndNotBefore) {
  std::ofstream(path) << "old";
  const std::string large(300'000, 'x');
  auto file = OutputFile::create(path);
  ASSERT_TRUE(file) << describe(file.error());
  (*file)->stream() << large << "end";
  EXPECT_EQ(contents(path), "old");
  ASSERT_TRUE((*file)->commit());
  EXPECT_EQ(contents(path), large + "end");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(OutputFiles, WithoutACommitNothingIsLeft) {
  {
    auto file = OutputFile::create(path);
    ASSERT_TRUE(file);
    (*file)->stream() << std::string(300'000, 'x');
  }
  EXPECT_EQ(entries(), 0U);
}

TEST_F(OutputFiles, OnlyFilesAreReplaced) {
  fs::create_directory(path);
  EXPECT_EQ(OutputFile::create(path).error().code, Errc::exists);
  fs::remove(path);
  std::ofstream(dir / "target") << "kept";
  fs::create_symlink("target", path);
  EXPECT_EQ(OutputFile::create(path).error().code, Errc::exists);
  EXPECT_EQ(contents(dir / "target"), "kept");
  EXPECT_EQ(OutputFile::create("/dev/null").error().code, Errc::exists);
  EXPECT_EQ(OutputFile::create(dir / "no/such/folder").error().code, Errc::not_found);
}

TEST_F(OutputFiles, AFullFileSystemIsAnErrorAndChangesNothing) {
  if (::mount("none", dir.path().c_str(), "tmpfs", 0, "size=128k") != 0) GTEST_SKIP() << "needs to be root";
  std::ofstream(path) << "old";
  {
    auto file = OutputFile::create(path);
    ASSERT_TRUE(file);
    (*file)->stream() << std::string(1'000'000, 'x');
    const auto full = (*file)->commit();
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Errc::no_space);
  }
  EXPECT_EQ(contents(path), "old");
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(::umount2(dir.path().c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace remapfs::cli
