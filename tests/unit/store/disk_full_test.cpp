// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "unit/store/store_fixture.hpp"

// The file system of the map runs full. Needs root: mounts a small tmpfs.

namespace remapfs::store {
namespace {

class SmallFileSystem {
 public:
  explicit SmallFileSystem(const std::filesystem::path& where) : where_(where) {
    std::filesystem::create_directory(where_);
    if (::mount("tmpfs", where_.c_str(), "tmpfs", 0, "size=48m") != 0) {
      throw std::system_error(errno, std::generic_category(), "mount tmpfs");
    }
  }
  ~SmallFileSystem() { ::umount2(where_.c_str(), MNT_DETACH); }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;

  // Leaves this many bytes free.
  void fill_up_to(std::uint64_t free) {
    empty();
    const std::uint64_t there = std::filesystem::space(where_).available;
    const int fd = ::open(filler().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_EQ(there <= free ? 0 : ::posix_fallocate(fd, 0, static_cast<off_t>(there - free)), 0);
    ::close(fd);
  }
  void empty() { std::filesystem::remove(filler()); }

 private:
  [[nodiscard]] std::string filler() const { return (where_ / "filler").string(); }
  std::filesystem::path where_;
};

class DiskFull : public StoreTest {
 protected:
  DiskFull() : small_(directory_.path() / "small") { map_path_ = directory_ / "small/volume.map"; }
  SmallFileSystem small_;
};

TEST_F(DiskFull, LogIsUsedAgainFromItsBeginningWhenItCannotGrow) {
  create();
  open();
  for (std::uint64_t i = 0; i < 200; ++i) commit({{put_remapped(1, 1)}, {}, {}});
  small_.fill_up_to(0);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    ASSERT_NO_FATAL_FAILURE(commit({{put_remapped(1, 1)}, {}, {}})) << i;
  }
}

TEST_F(DiskFull, CommitFailsCleanlyWhereverTheSpaceEndsAndWorksAgainWithRoom) {
  create(512, 100'000, 512, 32 * kMiB);
  open();
  std::uint64_t slot = 0;
  std::uint64_t expected = 0;
  int full = 0;
  for (std::uint64_t pages = 0; pages < 40; ++pages) {
    SCOPED_TRACE(pages);
    small_.fill_up_to(pages * 4096);
    spare().reset_counters();
    for (int i = 0; i < 400; ++i) {
      MapTransaction transaction;
      for (std::uint64_t j = 0; j <= pages % 5 * 40; ++j) {
        transaction.changes.push_back(put_remapped((expected + j) * 37 % 99'991, slot + j));
      }
      const std::uint64_t writes = spare().counters().writes;
      const auto report = store().commit(transaction);
      if (report) {
        slot += transaction.changes.size();
        expected += transaction.changes.size();
        continue;
      }
      ASSERT_EQ(report.error().error.code, Errc::store) << describe(report.error().error);
      EXPECT_EQ(report.error().error.os_errno, ENOSPC);
      EXPECT_NE(report.error().error.message.find("make room"), std::string::npos);
      EXPECT_EQ(spare().counters().writes, writes) << "no tag before the rows are sure to fit";
      ++full;
      break;
    }
    small_.empty();
    commit({{put_remapped(expected * 37 % 99'991, slot)}, {}, {}});
    ++slot;
    ++expected;
    if (slot > 30'000) break;
  }
  EXPECT_GT(full, 3);
  close();
  EXPECT_TRUE(findings().empty());
  open();
  EXPECT_EQ(rows().size(), expected);
}

TEST_F(DiskFull, CreateLeavesNothingBehind) {
  small_.fill_up_to(8192);
  spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 * kMiB), 512);
  CreateSpec spec;
  spec.map_path = map_path_;
  spec.size = ByteCount(4096);
  const auto refused = create_volume(spec, spare());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::store);
  EXPECT_EQ(refused.error().os_errno, ENOSPC);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path() / "small"), {}), 1);
  EXPECT_EQ(spare().counters().writes, 0U);
}

TEST_F(DiskFull, ReadOnlyOpenNeedsNoSpace) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  kill();
  small_.fill_up_to(0);
  open({.read_only = true});
  EXPECT_EQ(rows().size(), 1U);
}

TEST_F(DiskFull, OpenForWritingFailsCleanlyAndWorksWithRoom) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  close();
  small_.fill_up_to(0);
  const auto refused = try_open();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::store) << describe(refused.error());
  small_.empty();
  open();
  EXPECT_EQ(rows().size(), 1U);
  close();
  EXPECT_TRUE(findings().empty());
}

}  // namespace
}  // namespace remapfs::store
