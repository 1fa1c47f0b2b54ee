// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "e2e/cli/workspace.hpp"
#include "store/spare_format.hpp"

// backup, check, repair and recover, through the built program.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CliRecovery : public Workspace {
 protected:
  // Blocks 1 to 5 live on the spare with other contents than the primary has.
  void SetUp() override {
    create();
    ASSERT_EQ(remapfs({"add", map_, "1-5"}).exit_code, 0);
    mount();
    write_bytes(disk_, 4096, fresh_);
    unmount();
  }
  [[nodiscard]] std::vector<std::string> recover(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args{"recover", new_map_, "--primary", primary_, "--spare", spare_};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // Both copies of the first sector of the tag table.
  void damage_tags() const {
    const auto layout = store::SpareLayout::of(ByteCount(std::filesystem::file_size(spare_)), 4096);
    for (const ByteOffset table : layout.tags) write_bytes(spare_, table.value() + 40, "damage");
  }

  const std::string fresh_ = std::string(5 * 4096, 'f');
  const std::string new_map_ = dir_ / "new.map";
};

TEST_F(CliRecovery, LostMapIsRebuiltFromTheSpareAlone) {
  std::filesystem::remove(map_);
  const std::string spare = read_bytes(spare_, 0, std::filesystem::file_size(spare_));
  const Ran ran = remapfs(recover());
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("5 remapped blocks"));
  EXPECT_THAT(ran.err, HasSubstr("lost and weak blocks are not known"));
  EXPECT_EQ(read_bytes(spare_, 0, spare.size()), spare);
  EXPECT_EQ(remapfs({"check", new_map_}).out, "clean\n");
  map_ = new_map_;
  mount();
  EXPECT_EQ(read_bytes(disk_, 4096, fresh_.size()), fresh_);
  EXPECT_EQ(read_bytes(disk_, 0, 4096), known_bytes(0, 4096));
  unmount();
  EXPECT_THAT(remapfs({"events", new_map_}).out, HasSubstr("recovered"));
}

TEST_F(CliRecovery, DoubtIsNamedAndRefusedUnlessItIsAccepted) {
  damage_tags();
  const std::string before = fingerprint();
  Ran ran = remapfs(recover());
  expect_one_error(ran, 2, "--accept-stale");
  EXPECT_THAT(ran.out, HasSubstr("slot 1: tags A and B are damaged"));
  EXPECT_THAT(ran.out, HasSubstr("the tags name 4 blocks, the superblock vouches for 5"));
  EXPECT_EQ(::access(new_map_.c_str(), F_OK), -1);
  EXPECT_EQ(fingerprint(), before);
  ran = remapfs(recover({"--accept-stale"}));
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("accepted: "));
  EXPECT_THAT(ran.err, HasSubstr("not vouched for"));
}

TEST_F(CliRecovery, WrongMembersAndNamesAreRefused) {
  expect_one_error(remapfs({"recover", new_map_, "--primary", primary_}), 1, "--spare");
  expect_one_error(remapfs({"recover", map_, "--primary", primary_, "--spare", spare_}), 2, "exists already");
  expect_one_error(remapfs({"recover", new_map_, "--primary", spare_, "--spare", spare_}), 2,
                   "no superblock at its end");
  expect_one_error(remapfs({"recover", new_map_, "--primary", map_, "--spare", spare_}), 2, "another primary");
  std::filesystem::create_symlink(spare_, dir_ / "again");
  expect_one_error(remapfs(recover({"--spare", dir_ / "again"})), 1, "given as a spare twice");
  expect_one_error(remapfs({"recover", new_map_, "--primary", primary_, "--spare", map_}), 2, "no remapfs spare");
  mount();
  expect_one_error(remapfs(recover()), 2, primary_);
  expect_one_error(remapfs({"repair", map_}), 2, "in use");
  EXPECT_EQ(::access(new_map_.c_str(), F_OK), -1);
}

TEST_F(CliRecovery, RepairMendsWhatIsProvenAndSaysWhat) {
  EXPECT_EQ(remapfs({"repair", map_}).out, "clean, nothing to repair\n");
  damage_tags();
  write_bytes(spare_, 50, "damage");
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, "run `remapfs check`");
  EXPECT_EQ(remapfs({"check", map_}).exit_code, 2);
  const Ran ran = remapfs({"repair", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("mended: superblock: "));
  EXPECT_THAT(ran.out, HasSubstr("mended: tag: "));
  EXPECT_THAT(ran.out, Not(HasSubstr("left: ")));
  EXPECT_EQ(remapfs({"check", map_}).out, "clean\n");
  mount();
  EXPECT_EQ(read_bytes(disk_, 4096, fresh_.size()), fresh_);
}

TEST_F(CliRecovery, MapBeyondRepairIsLeftForRecover) {
  write_bytes(map_, 0, std::string(100, 'x'));
  const std::string before = fingerprint();
  const Ran ran = remapfs({"repair", map_});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("not a remapfs map"));
  EXPECT_THAT(ran.err, HasSubstr("remapfs recover"));
  EXPECT_EQ(fingerprint(), before);
}

TEST_F(CliRecovery, BackupOfAMountedVolumeIsAWholeMapAndReplacesNothing) {
  const std::string copy = dir_ / "copy";
  mount();
  ASSERT_EQ(remapfs({"mark-lost", map_, "9"}).exit_code, 0);
  const Ran ran = remapfs({"backup", mnt_, copy});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "backed up " + map_ + " to " + copy + ": 6 entries\n");
  for (const char* suffix : {"-wal", "-shm", "-journal"}) EXPECT_EQ(::access((copy + suffix).c_str(), F_OK), -1);
  const std::string bytes = read_bytes(copy, 0, std::filesystem::file_size(copy));
  expect_one_error(remapfs({"backup", map_, copy}), 2, "exists already");
  EXPECT_EQ(read_bytes(copy, 0, bytes.size()), bytes);
  unmount();
  const Ran list = remapfs({"list", copy, "--noheadings"});
  EXPECT_EQ(std::count(list.out.begin(), list.out.end(), '\n'), 6) << list.out;
  // One mount later it is an old map.
  mount();
  unmount();
  expect_one_error(remapfs({"mount", copy, mnt_}), 32, "older than spare");
  ASSERT_EQ(remapfs({"backup", map_, dir_ / "second"}).exit_code, 0);
  EXPECT_EQ(remapfs({"check", dir_ / "second"}).out, "clean\n");
}

}  // namespace
}  // namespace remapfs::e2e
