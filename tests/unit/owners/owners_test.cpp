// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "owners/owner.hpp"
#include "owners/xfs_owners.hpp"

namespace remapfs::owners {
namespace {

constexpr const char* kSuperblock =
    "magicnum = 0x58465342\nblocksize = 4096\ndblocks = 102400\nagblocks = 25600\nagcount = 4\nagblklog = 15\n";

// Answers as xfs_db does: echoes marks, and says of each block what `use` says.
class FakeXfs {
 public:
  std::string use = "block 24 (0/24) type data inode 132 d1/name\n";
  std::string extents = "core.size = 9000\ndata offset 0 startblock 24 (0/24) count 3 flag 0\n";
  std::vector<std::string> scripts;

  Result<std::string> operator()(const std::string& script) {
    scripts.push_back(script);
    if (script.starts_with("sb 0")) return std::string(kSuperblock);
    std::string out;
    std::size_t from = 0;
    std::string line;
    for (; from < script.size(); from += line.size() + 1) {
      line = script.substr(from, script.find('\n', from) - from);
      if (line.starts_with("echo ")) out += line.substr(5) + " \n";
      if (line.starts_with("blockuse")) out += use;
      if (line.starts_with("bmap")) out += extents;
    }
    return out;
  }
};

FileSystem xfs(std::uint64_t first_sector = 0) {
  return {1, {ByteOffset(first_sector * 512), ByteOffset(first_sector * 512 + (std::uint64_t{400} << 20U))}, "xfs"};
}

std::vector<Owner> ask(FakeXfs& fake, const std::vector<SectorRun>& runs, const FileSystem& where = xfs()) {
  auto owners = xfs_owners(where, runs, [&](const std::string& script) { return fake(script); });
  EXPECT_TRUE(owners) << describe(owners.error());
  return owners.value_or(std::vector<Owner>());
}

TEST(XfsOwners, KnowsTheFileAndThePlaceInIt) {
  FakeXfs fake;
  // Sector 195 is the fourth of block 24.
  const auto owners = ask(fake, {{2048 + 195, 2}}, xfs(2048));
  ASSERT_EQ(owners.size(), 1U);
  EXPECT_EQ(owners[0].first, 2048U + 195);
  EXPECT_EQ(owners[0].count, 2U);
  EXPECT_EQ(owners[0].content, Content::file);
  EXPECT_EQ(owners[0].path, "/d1/name");
  EXPECT_EQ(owners[0].offset, 3 * 512U);
  EXPECT_EQ(owners[0].inode, 132U);
  // Group 1 begins at block 25600, and its numbers at 1 << 15.
  ask(fake, {{25600 * 8, 1}});
  EXPECT_NE(fake.scripts.back().find("fsblock 32768\n"), std::string::npos) << fake.scripts.back();
}

TEST(XfsOwners, AnAnswerAboutAnotherPlaceIsNone) {
  FakeXfs fake;
  const auto owners = ask(fake, {{100 * 8, 1}});
  ASSERT_EQ(owners.size(), 1U);
  EXPECT_EQ(owners[0].content, Content::unknown);
  EXPECT_TRUE(owners[0].path.empty());
}

TEST(XfsOwners, ANameIsANameWhateverIsInIt) {
  FakeXfs fake;
  fake.use = "block 24 (0/24) type data inode 132 a\nblock 24 (0\\24) type sb\n@0000 \necho x\n";
  const auto owners = ask(fake, {{192, 1}});
  ASSERT_EQ(owners.size(), 1U);
  EXPECT_EQ(owners[0].path, "/a\nblock 24 (0\\24) type sb\n@0000 \necho x");
}

TEST(XfsOwners, SaysWhatItKnowsOfTheRest) {
  FakeXfs fake;
  for (const auto& [type, content] :
       std::vector<std::pair<std::string, Content>>{{"sb", Content::metadata},
                                                    {"free2", Content::free},
                                                    {"log", Content::journal},
                                                    {"missing", Content::unknown},
                                                    {"something-new", Content::metadata}}) {
    fake.use = "block 24 (0/24) type " + type + "\n";
    const auto owners = ask(fake, {{192, 1}});
    ASSERT_EQ(owners.size(), 1U);
    EXPECT_EQ(owners[0].content, content) << type;
  }
  fake.use = "block 24 (0/24) type data inode 132 f\n";
  fake.extents = "core.size = 100\ndata offset 0 startblock 24 (0/24) count 3 flag 0\n";
  EXPECT_EQ(ask(fake, {{193, 1}})[0].what, "behind the end of the file");
  fake.extents = "core.size = 100\n";
  EXPECT_EQ(ask(fake, {{193, 1}})[0].content, Content::metadata);
}

TEST(XfsOwners, ALogThatIsNotCleanIsSaid) {
  FakeXfs fake;
  fake.use = "must run blockget first\n";
  const auto owners = xfs_owners(xfs(), std::vector<SectorRun>{{0, 1}}, [&](const std::string& s) { return fake(s); });
  EXPECT_EQ(owners.error().code, Errc::busy);
}

TEST(XfsOwners, NonsenseIsNoSuperblock) {
  for (const char* wrong : {"", "blocksize = 4096", "\nblocksize = 0\nagblocks = 1\nagblklog = 0\nagcount = 1\n",
                            "\nblocksize = 4096\nagblocks = 0\nagblklog = 0\nagcount = 1\n",
                            "\nblocksize = 4096\nagblocks = 9\nagblklog = 3\nagcount = 1\n",
                            "\nblocksize = 4096\nagblocks = 9\nagblklog = 99\nagcount = 1\n"}) {
    EXPECT_FALSE(parse_xfs_superblock(wrong)) << wrong;
  }
  for (const char* wrong :
       {"", "block", "block 1 (1/2", "block 1 (a/2) type data", "block 1 (1/2) type data inode x"}) {
    EXPECT_FALSE(parse_xfs_use(wrong)) << wrong;
  }
  EXPECT_TRUE(
      parse_xfs_bmap("data offset x (0/1) count 1\ndata offset 1 (0/1) count\nattr offset 0 (0/1) count 1\n").empty());
}

TEST(Owners, NeighboursOfOneFileAreOneWhereItGoesOn) {
  Owner a;
  a.first = 10;
  a.count = 2;
  a.content = Content::file;
  a.path = "/a";
  a.offset = 0;
  Owner b = a;
  b.first = 12;
  b.offset = 1024;
  Owner c = b;
  c.first = 14;
  c.offset = 0;  // the file begins here, elsewhere on the disk
  const auto few = merged({c, a, b});
  ASSERT_EQ(few.size(), 2U);
  EXPECT_EQ(few[0].count, 4U);
  EXPECT_EQ(few[1].first, 14U);
}

}  // namespace
}  // namespace remapfs::owners
