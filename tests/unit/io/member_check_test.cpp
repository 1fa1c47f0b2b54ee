// SPDX-License-Identifier: Apache-2.0
#include "io/member_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/member_extents.hpp"
#include "support/fake_kernel_views.hpp"
#include "support/mounted_filesystem.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void make_file(const std::string& path, std::uint64_t size = 4U << 20U) {
  std::ofstream{path};
  std::filesystem::resize_file(path, size);
}

TEST(CheckNoOverlap, TheSameFileThroughAnyLinkIsRefused) {
  const TempDir directory;
  make_file(directory / "a");
  make_file(directory / "b");
  std::filesystem::create_symlink("a", directory / "symbolic");
  std::filesystem::create_hard_link(directory / "a", directory / "hard");
  EXPECT_TRUE(check_no_overlap(directory / "a", directory / "b"));
  for (const char* name : {"a", "symbolic", "hard"}) {
    const auto result = check_no_overlap(directory / "a", directory / name);
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error().code, Errc::invalid);
    EXPECT_THAT(result.error().message, HasSubstr(name));
  }
  EXPECT_EQ(check_no_overlap(directory / "a", directory / "absent").error().code, Errc::not_found);
  EXPECT_EQ(check_no_overlap(directory.path().string(), directory / "a").error().code, Errc::invalid);
}

class Extents : public ::testing::Test {
 protected:
  Extents() {
    kernel_.add_disk("sda", "8:0", 1000);
    kernel_.add_partition("sda", "sda1", "8:1", 64, 100);
    kernel_.add_partition("sda", "sda2", "8:2", 164, 800);
    kernel_.add_disk("sdb", "8:16", 1000);
    kernel_.add_disk("dm-0", "252:0", 500);
    kernel_.stack("dm-0", "sda/sda2");
  }
  [[nodiscard]] std::vector<Extent> of(unsigned major, unsigned minor) const {
    return device_extents(makedev(major, minor), kernel_.views());
  }
  [[nodiscard]] std::vector<Claim> claims(unsigned major, unsigned minor) const {
    return kernel_claims(of(major, minor), kernel_.views());
  }
  FakeKernelViews kernel_;
};

TEST_F(Extents, ADiskSharesBytesWithItsPartitionsAndTheyNotWithEachOther) {
  EXPECT_TRUE(overlap(of(8, 0), of(8, 1)));
  EXPECT_TRUE(overlap(of(8, 2), of(8, 0)));
  EXPECT_TRUE(overlap(of(8, 1), of(8, 1)));
  EXPECT_FALSE(overlap(of(8, 1), of(8, 2)));
  EXPECT_FALSE(overlap(of(8, 0), of(8, 16)));
}

TEST_F(Extents, AMappedDeviceSharesBytesWithWhatItIsMadeOf) {
  EXPECT_TRUE(overlap(of(252, 0), of(8, 2)));
  EXPECT_TRUE(overlap(of(252, 0), of(8, 0)));
  EXPECT_FALSE(overlap(of(252, 0), of(8, 1)));
  EXPECT_FALSE(overlap(of(252, 0), of(8, 16)));
}

TEST_F(Extents, ALoopDeviceSharesOnlyTheBytesItShows) {
  const TempDir directory;
  make_file(directory / "image");
  kernel_.add_disk("loop0", "7:0", 2048);
  kernel_.set("loop0", "loop/backing_file", directory / "image");
  kernel_.set("loop0", "loop/offset", "1048576");
  kernel_.set("loop0", "loop/sizelimit", "1048576");
  kernel_.add_disk("loop1", "7:1", 2048);
  kernel_.set("loop1", "loop/backing_file", directory / "image");
  kernel_.set("loop1", "loop/sizelimit", "1048576");
  const auto file = member_extents(directory / "image", kernel_.views());
  ASSERT_TRUE(file);
  EXPECT_TRUE(overlap(of(7, 0), *file));
  EXPECT_FALSE(overlap(of(7, 0), of(7, 1)));

  const auto on_file = check_unused(directory / "image", kernel_.views());
  ASSERT_FALSE(on_file);
  EXPECT_EQ(on_file.error().code, Errc::busy);
  EXPECT_THAT(on_file.error().message, HasSubstr("/dev/loop0"));
  EXPECT_THAT(on_file.error().message, HasSubstr("losetup -d"));
  EXPECT_THAT(claims(7, 0), IsEmpty()) << "a loop device that is itself the member is not in its own way";
}

TEST_F(Extents, AMountClaimsItsDiskAndThePartitionButNotTheNeighbour) {
  kernel_.write("proc/self/mountinfo",
                "20 1 0:5 / /proc rw - proc proc rw\n"
                "30 1 8:1 / /mnt/my\\040data rw,relatime shared:7 - ext4 none rw\n");
  ASSERT_THAT(claims(8, 1), SizeIs(1));
  EXPECT_EQ(claims(8, 1)[0].text, "mounted on /mnt/my data");
  ASSERT_FALSE(claims(8, 0).empty());
  EXPECT_EQ(claims(8, 0)[0].text, "mounted on /mnt/my data");
  EXPECT_THAT(claims(8, 16), IsEmpty());
  for (const Claim& claim : claims(8, 2)) EXPECT_THAT(claim.text, ::testing::Not(HasSubstr("mounted")));
}

TEST_F(Extents, AMountOnTheDiskClaimsItsPartitions) {
  kernel_.write("proc/self/mountinfo", "30 1 8:16 / /mnt rw - xfs none rw\n");
  kernel_.add_partition("sdb", "sdb1", "8:17", 8, 8);
  EXPECT_THAT(claims(8, 17), SizeIs(1));
}

TEST_F(Extents, ADeviceStackedOnAPartitionClaimsItAndItsDisk) {
  ASSERT_THAT(claims(8, 2), SizeIs(1));
  EXPECT_EQ(claims(8, 2)[0].text, "/dev/dm-0");
  EXPECT_THAT(claims(8, 0), SizeIs(1));
  EXPECT_THAT(claims(8, 1), IsEmpty());
  EXPECT_THAT(claims(252, 0), IsEmpty()) << "the mapped device itself is free";
}

TEST_F(Extents, ASwapFileIsClaimed) {
  const TempDir directory;
  make_file(directory / "swap file");
  kernel_.write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + directory.path().string() +
                                  "/swap\\040file                  file\t\t4096\t\t0\t\t-2\n");
  const auto result = check_unused(directory / "swap file", kernel_.views());
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("swapoff"));
}

TEST_F(Extents, ACircleInSysfsEndsTheWalk) {
  kernel_.add_disk("dm-1", "252:1", 500);
  kernel_.add_disk("dm-2", "252:2", 500);
  kernel_.stack("dm-1", "dm-2");
  kernel_.stack("dm-2", "dm-1");
  EXPECT_FALSE(of(252, 1).empty());
}

TEST(CheckUnused, AFileThatNobodyUsesIsFree) {
  const TempDir directory;
  make_file(directory / "a");
  EXPECT_TRUE(check_unused(directory / "a"));
  EXPECT_EQ(check_unused(directory / "absent").error().code, Errc::not_found);
}

TEST(CheckNoSignature, NamesTheFileSystemThatIsThere) {
  const TempDir directory;
  make_file(directory / "image", 64U << 20U);
  EXPECT_TRUE(check_no_signature(directory / "image"));
  ASSERT_EQ(run_program({"mkfs.ext4", "-q", "-F", "-L", "holiday", directory / "image"}), 0);
  const auto result = check_no_signature(directory / "image");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::exists);
  EXPECT_THAT(result.error().message, HasSubstr("ext4"));
  EXPECT_THAT(result.error().message, HasSubstr("holiday"));
  EXPECT_THAT(result.error().message, HasSubstr("--force"));
}

TEST(CheckNoSignature, SeesPartitionTablesAndSwap) {
  const TempDir directory;
  make_file(directory / "table", 8U << 20U);
  {
    std::fstream table(directory / "table", std::ios::in | std::ios::out | std::ios::binary);
    // One partition of type 0x83 from sector 2048 on.
    const unsigned char entry[16] = {0, 0, 0x21, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x20, 0, 0};
    table.seekp(446);
    table.write(reinterpret_cast<const char*>(entry), sizeof entry);
    table.seekp(510);
    table.write("\x55\xAA", 2);
  }
  const auto table = check_no_signature(directory / "table");
  ASSERT_FALSE(table);
  EXPECT_THAT(table.error().message, HasSubstr("partition table (dos)"));

  make_file(directory / "swap", 8U << 20U);
  ASSERT_EQ(run_program({"mkswap", directory / "swap"}), 0);
  const auto swap = check_no_signature(directory / "swap");
  ASSERT_FALSE(swap);
  EXPECT_THAT(swap.error().message, HasSubstr("swap"));
}

TEST(CheckNoSignature, AnEmptyOrNewFileIsFreeAndAnAbsentOneIsNotFound) {
  const TempDir directory;
  make_file(directory / "empty", 0);
  make_file(directory / "small", 512);
  EXPECT_TRUE(check_no_signature(directory / "empty"));
  EXPECT_TRUE(check_no_signature(directory / "small"));
  EXPECT_EQ(check_no_signature(directory / "absent").error().code, Errc::not_found);
}

}  // namespace
}  // namespace remapfs::testing
