// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "e2e/cli/workspace.hpp"

// Every verb through the built program, mounted and unmounted.

namespace remapfs::e2e {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class CliLife : public Workspace {};

std::vector<std::uint64_t> listed_blocks(const std::string& target, const std::string& state) {
  const Ran ran = remapfs({"list", target, "-J"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  std::vector<std::uint64_t> blocks;
  const Json list = Json::parse(ran.out, nullptr, false);
  EXPECT_EQ(list["json_format_version"], 1);
  for (const Json& row : list["remaps"]) {
    if (row["state"] == state) blocks.push_back(row["block"]);
  }
  return blocks;
}

using Blocks = std::vector<std::uint64_t>;

TEST_F(CliLife, CreateMountUseUnmount) {
  create({"--label", "old disk"});
  Json before = status(map_);
  EXPECT_EQ(before["mounted"], false);
  EXPECT_EQ(before["state"], "healthy");
  EXPECT_EQ(before["volume"]["label"], "old disk");
  EXPECT_EQ(before["volume"]["size_bytes"], kPrimaryBytes);
  EXPECT_EQ(before["volume"]["block_size"], 4096);

  mount();
  EXPECT_EQ(read_bytes(disk_, 0, 1 << 20U), known_bytes(0, 1 << 20U));
  write_bytes(disk_, 12345, "across sectors");
  for (const std::string& target : {map_, mnt_, disk_}) {
    const Json now = status(target);
    EXPECT_EQ(now["mounted"], true) << target;
    EXPECT_EQ(now["mountpoint"], mnt_);
    EXPECT_GE(now["io"]["reads"].get<int>(), 1);
    EXPECT_GE(now["io"]["writes"].get<int>(), 1);
    EXPECT_TRUE(now["engine"].is_string());
    EXPECT_EQ(now["volume"]["uuid"], before["volume"]["uuid"]);
  }
  const pid_t process = daemon();
  unmount();
  EXPECT_TRUE(ends_within(process, std::chrono::seconds(0))) << "unmount returned before the daemon was gone";
  EXPECT_EQ(read_bytes(primary_, 12345, 14), "across sectors");
  EXPECT_EQ(status(map_)["mounted"], false);
  EXPECT_EQ(::access((map_ + "-wal").c_str(), F_OK), -1);
  const std::string socket = "/run/remapfs/" + before["volume"]["uuid"].get<std::string>() + ".sock";
  EXPECT_EQ(::access(socket.c_str(), F_OK), -1);
  EXPECT_EQ(remapfs({"check", map_}).exit_code, 0);
}

// The same verbs, once through the daemon and once on the unmounted map, with the same effect.
class CliBlockVerbs : public Workspace, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    create();
    if (GetParam()) mount();
  }
};

TEST_P(CliBlockVerbs, AddKeepsDataAndRemoveBringsItBack) {
  Ran ran = remapfs({"add", map_, "3", "0x10-0x12"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "block 3: remapped\nblock 16: remapped\nblock 17: remapped\nblock 18: remapped\n");
  EXPECT_EQ(listed_blocks(map_, "remapped"), (Blocks{3, 16, 17, 18}));
  ran = remapfs({"add", map_, "3"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("already"));

  if (!GetParam()) mount();
  EXPECT_EQ(read_bytes(disk_, 0, 20 * 4096), known_bytes(0, 20 * 4096));
  write_bytes(disk_, 16 * 4096, std::string(4096, 'n'));
  EXPECT_EQ(read_bytes(primary_, 16 * 4096, 4096), known_bytes(16 * 4096, 4096));
  if (!GetParam()) unmount();

  ran = remapfs({"remove", map_, "16-17"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_bytes(primary_, 16 * 4096, 4096), std::string(4096, 'n'));
  EXPECT_EQ(listed_blocks(map_, "remapped"), (Blocks{3, 18}));
  ran = remapfs({"remove", map_, "16"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("already"));
}

TEST_P(CliBlockVerbs, LostBlocksAnswerErrorsUntilClearedOrRewritten) {
  EXPECT_EQ(remapfs({"mark-lost", map_, "5-6"}).exit_code, 0);
  EXPECT_EQ(listed_blocks(map_, "lost"), (Blocks{5, 6}));
  Json now = status(map_);
  EXPECT_EQ(now["lost_sectors"], 16);
  EXPECT_EQ(now["state"], "degraded");
  expect_one_error(remapfs({"add", map_, "5"}), 2, "block 5");
  expect_one_error(remapfs({"remove", map_, "5"}), 2, "block 5");

  if (!GetParam()) mount();
  EXPECT_EQ(read_bytes(disk_, 5 * 4096, 512), "cannot read");
  EXPECT_EQ(read_bytes(disk_, 4 * 4096, 4096), known_bytes(4 * 4096, 4096));
  write_bytes(disk_, 6 * 4096, std::string(4096, 'w'));
  EXPECT_EQ(read_bytes(disk_, 6 * 4096, 4096), std::string(4096, 'w'));
  if (!GetParam()) unmount();

  const Ran ran = remapfs({"clear-lost", map_, "5"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(listed_blocks(map_, "lost"), Blocks{});
  now = status(map_);
  EXPECT_EQ(now["lost_sectors"], 0);
  EXPECT_EQ(now["remapped_blocks"], 1);
  if (!GetParam()) mount();
  EXPECT_EQ(read_bytes(disk_, 5 * 4096, 4096), known_bytes(5 * 4096, 4096));
}

TEST_P(CliBlockVerbs, RetestWithoutBlocksLooksAtEveryEntry) {
  Ran ran = remapfs({"retest", map_});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("no entries"));
  ASSERT_EQ(remapfs({"mark-lost", map_, "1", "3-4"}).exit_code, 0);
  ran = remapfs({"retest", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "block 1: readable\nblock 3: readable\nblock 4: readable\n");
  EXPECT_EQ(listed_blocks(map_, "lost"), Blocks{});
}

TEST_P(CliBlockVerbs, SeveralBlocksAreAllTriedAndEachFailureIsALine) {
  ASSERT_EQ(remapfs({"mark-lost", map_, "2"}).exit_code, 0);
  const Ran ran = remapfs({"add", map_, "1-3", "4096", "9"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_EQ(ran.out, "block 1: remapped\nblock 3: remapped\nblock 9: remapped\n");
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 2) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("block 2"));
  EXPECT_THAT(ran.err, HasSubstr("block 4096 is out of range, the disk has 4096 blocks, use 0-4095"));
}

TEST_P(CliBlockVerbs, EventsTellWhatHappened) {
  ASSERT_EQ(remapfs({"add", map_, "7"}).exit_code, 0);
  ASSERT_EQ(remapfs({"remove", map_, "7"}).exit_code, 0);
  const Ran ran = remapfs({"events", map_, "-J"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Json events = Json::parse(ran.out, nullptr, false);
  EXPECT_EQ(events["json_format_version"], 1);
  std::vector<std::string> kinds;
  for (const Json& event : events["events"]) {
    EXPECT_TRUE(event["id"].is_number_integer());
    EXPECT_THAT(event["at"].get<std::string>(), ::testing::MatchesRegex("....-..-..T..:..:.*Z"));
    if (event["block"] == 7) kinds.push_back(event["kind"]);
  }
  EXPECT_EQ(kinds.size(), 2U) << ran.out;
  EXPECT_THAT(remapfs({"events", map_}).out, HasSubstr(kinds.at(0)));
}

INSTANTIATE_TEST_SUITE_P(Mounted, CliBlockVerbs, ::testing::Bool(),
                         [](const auto& param) { return param.param ? "ThroughTheDaemon" : "OnTheUnmountedMap"; });

TEST_F(CliLife, ListPrintsWhatIsAskedFor) {
  create();
  ASSERT_EQ(remapfs({"add", map_, "512"}).exit_code, 0);
  ASSERT_EQ(remapfs({"mark-lost", map_, "1"}).exit_code, 0);
  EXPECT_EQ(remapfs({"list", map_, "-o", "block,offset,STATE", "--noheadings"}).out,
            "    1     4K lost\n  512     2M remapped\n");
  EXPECT_EQ(remapfs({"list", map_, "-o", "offset", "--bytes"}).out, " OFFSET\n   4096\n2097152\n");

  const Json rows = Json::parse(remapfs({"list", map_, "-J"}).out)["remaps"];
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["block"], 1);
  EXPECT_EQ(rows[0]["offset"], 4096);
  EXPECT_TRUE(rows[0]["slot"].is_null());
  EXPECT_TRUE(rows[0]["spare_id"].is_null());
  EXPECT_EQ(rows[0]["valid_mask"], 0);
  EXPECT_EQ(rows[1]["slot"], 0);
  EXPECT_EQ(rows[1]["spare_id"], 1);
  EXPECT_EQ(rows[1]["valid_mask"], 255);
  // The keys are the columns of the table `remaps`, and the offset.
  const Ran columns = run_program({"sqlite3", "-readonly", map_, "select name from pragma_table_info('remaps')"});
  std::istringstream names(columns.out);
  std::size_t count = 0;
  for (std::string name; std::getline(names, name); ++count) EXPECT_TRUE(rows[0].contains(name)) << name;
  EXPECT_EQ(rows[0].size(), count + 1);
}

TEST_F(CliLife, ListOfNothingIsStillAList) {
  create();
  EXPECT_EQ(Json::parse(remapfs({"list", map_, "-J"}).out)["remaps"], Json::array());
  EXPECT_EQ(remapfs({"list", map_, "--noheadings"}).out, "");
}

TEST_F(CliLife, JsonIsReadByJq) {
  create();
  mount();
  const Ran ran = run_program(
      {"sh", "-c", REMAPFS_PROGRAM " status \"$0\" -J | jq -e '.json_format_version == 1 and (.mounted|not|not)'",
       mnt_});
  EXPECT_EQ(ran.exit_code, 0) << ran.out << ran.err;
}

TEST_F(CliLife, ClosedPipeEndsAList) {
  create();
  ASSERT_EQ(remapfs({"mark-lost", map_, "0-3999"}).exit_code, 0);
  const Ran ran = run_program({"sh", "-c", REMAPFS_PROGRAM " list \"$0\" -J | head -n 1", map_});
  EXPECT_EQ(ran.out, "{\n");
}

// The lines of a file that a program writes to while the test goes on, once `done` says that there are enough.
std::vector<Json> lines_until(const std::string& path, const std::function<bool(const std::vector<Json>&)>& done) {
  std::vector<Json> lines;
  for (int i = 0; i < 300 && !done(lines); ++i) {
    ::usleep(100'000);
    lines.clear();
    std::ifstream file(path);
    // The last line may be on its way.
    for (std::string line; std::getline(file, line) && !file.eof();) lines.push_back(Json::parse(line, nullptr, false));
  }
  return lines;
}

TEST_F(CliLife, EventsAreFollowedAsTheyCome) {
  create();
  mount();
  const std::string out = dir_ / "events";
  const Running follower(
      {"sh", "-c", std::string("exec ") + REMAPFS_PROGRAM + " events " + map_ + " --follow -J > " + out});
  const auto has = [](const std::string& kind, std::uint64_t block) {
    return [=](const std::vector<Json>& lines) {
      return std::any_of(lines.begin(), lines.end(),
                         [&](const Json& line) { return line["kind"] == kind && line["block"] == block; });
    };
  };
  for (const std::uint64_t block : {5U, 9U}) {
    ASSERT_EQ(remapfs({"add", map_, std::to_string(block)}).exit_code, 0);
    EXPECT_TRUE(has("relocated", block)(lines_until(out, has("relocated", block)))) << "block " << block;
  }
  const auto lines = lines_until(out, has("relocated", 9));
  for (std::size_t i = 1; i < lines.size(); ++i) EXPECT_GT(lines[i]["id"], lines[i - 1]["id"]) << "each event once";
}

TEST_F(CliLife, StatusIsWatchedThroughMountAndUnmount) {
  create();
  const std::string out = dir_ / "statuses";
  const Running watcher(
      {"sh", "-c", std::string("exec ") + REMAPFS_PROGRAM + " status " + map_ + " --watch -J > " + out});
  for (const bool mounted : {false, true, false}) {
    const auto reached = [&](const std::vector<Json>& lines) {
      return !lines.empty() && lines.back()["mounted"] == mounted;
    };
    EXPECT_TRUE(reached(lines_until(out, reached))) << mounted;
    if (status(map_)["mounted"] == false) {
      mount();
    } else {
      unmount();
    }
  }
}

TEST_F(CliLife, ResumeOfAHealthyVolumeIsNothing) {
  create();
  EXPECT_EQ(remapfs({"resume", map_}).exit_code, 0);
  mount();
  EXPECT_EQ(remapfs({"resume", mnt_}).exit_code, 0);
}

TEST_F(CliLife, UnmountOfWhatIsNotMountedIsDoneWithANote) {
  create();
  const Ran ran = remapfs({"unmount", map_});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("note: not mounted"));
}

TEST_F(CliLife, SingleFileMountPointBecomesTheDisk) {
  create();
  const std::string file = dir_ / "image";
  write_bytes(file, 0, "placeholder");
  const Ran ran = remapfs({"mount", map_, file});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_bytes(file, 4096, 4096), known_bytes(4096, 4096));
  EXPECT_EQ(status(file)["mountpoint"], file);
  EXPECT_EQ(remapfs({"unmount", file}).exit_code, 0);
  EXPECT_EQ(read_bytes(file, 0, 100), "placeholder");
}

TEST_F(CliLife, ReadOnlyMountWritesNothing) {
  create();
  ASSERT_EQ(remapfs({"add", map_, "4"}).exit_code, 0);
  const std::string before = fingerprint();
  mount({"-o", "ro"});
  EXPECT_EQ(status(mnt_)["read_only"], true);
  EXPECT_EQ(read_bytes(disk_, 0, 1 << 16U), known_bytes(0, 1 << 16U));
  EXPECT_NE(run_program({"sh", "-c", "echo x > \"$0\"", disk_}).exit_code, 0);
  for (const char* verb : {"add", "mark-lost", "remove"}) {
    expect_one_error(remapfs({verb, mnt_, "4"}), 2, "read-only");
  }
  unmount();
  EXPECT_EQ(fingerprint(), before);
}

TEST_F(CliLife, DegradedMountServesWhatItCan) {
  create();
  ASSERT_EQ(remapfs({"add", map_, "4"}).exit_code, 0);
  ASSERT_EQ(::rename(spare_.c_str(), (dir_ / "away").c_str()), 0);
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, spare_);
  expect_one_error(remapfs({"mount", map_, mnt_, "-o", "ro"}), 32, spare_);
  EXPECT_EQ(status(map_)["state"], "degraded");
  mount({"-o", "degraded"});
  EXPECT_EQ(status(map_)["state"], "degraded");
  EXPECT_EQ(read_bytes(disk_, 0, 4096), known_bytes(0, 4096));
  EXPECT_EQ(read_bytes(disk_, 4 * 4096, 4096), "cannot read") << "never the primary's old copy";
  unmount();
  ASSERT_EQ(::rename((dir_ / "away").c_str(), spare_.c_str()), 0);
  mount();
  EXPECT_EQ(read_bytes(disk_, 4 * 4096, 4096), known_bytes(4 * 4096, 4096));
}

TEST_F(CliLife, DestroyFreesTheSpareForAnotherVolume) {
  create();
  mount();
  expect_one_error(remapfs({"destroy", map_}), 2, map_);
  unmount();
  EXPECT_EQ(remapfs({"destroy", map_}).exit_code, 0);
  EXPECT_EQ(::access(map_.c_str(), F_OK), -1);
  EXPECT_EQ(::access((map_ + "-wal").c_str(), F_OK), -1);
  EXPECT_EQ(read_bytes(primary_, 0, 4096), known_bytes(0, 4096));
  expect_one_error(remapfs({"destroy", map_}), 2, map_);
  create();
  mount();
}

TEST_F(CliLife, CheckNamesFindings) {
  create();
  ASSERT_EQ(remapfs({"add", map_, "4"}).exit_code, 0);
  Ran ran = remapfs({"check", map_});
  EXPECT_EQ(ran.exit_code, 0) << ran.out;
  EXPECT_EQ(ran.out, "clean\n");
  ASSERT_EQ(run_program({"sqlite3", map_, "update remaps set valid_mask = 1"}).exit_code, 0);
  const std::string before = fingerprint();
  ran = remapfs({"check", map_});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.out, HasSubstr("error: "));
  EXPECT_EQ(fingerprint(), before);
  expect_one_error(remapfs({"mount", map_, mnt_}), 32, map_);
  EXPECT_EQ(fingerprint(), before);
}

}  // namespace
}  // namespace remapfs::e2e
