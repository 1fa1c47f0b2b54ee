// SPDX-License-Identifier: Apache-2.0
#include "cli/run.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "unit/cli/test_world.hpp"

namespace remapfs::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TestWorld;

constexpr const char* kVerbs[] = {"create", "mount",  "unmount",   "attach",     "detach", "status", "list",  "add",
                                  "remove", "retest", "mark-lost", "clear-lost", "events", "resume", "check", "destroy",
                                  "import", "export", "repair",    "recover",    "backup", "upgrade"};

void expect_one_error_line(const TestWorld& test) {
  const std::string text = test.err.str();
  EXPECT_THAT(text, StartsWith("remapfs: "));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_EQ(text.back(), '\n');
  EXPECT_GE(std::count(text.begin(), text.end(), ','), 2) << "what, where, what to do: " << text;
}

TEST(Run, VersionAndHelpAreNoErrors) {
  TestWorld test;
  EXPECT_EQ(test.run({"--version"}), kExitDone);
  EXPECT_THAT(test.out.str(), StartsWith("remapfs "));
  EXPECT_EQ(test.run({"--help"}), kExitDone);
  for (const char* verb : kVerbs) EXPECT_THAT(test.out.str(), HasSubstr(verb));
  EXPECT_EQ(test.err.str(), "");
}

TEST(Run, EveryVerbHasHelpWithAnExample) {
  TestWorld test;
  for (const char* verb : kVerbs) {
    EXPECT_EQ(test.run({verb, "--help"}), kExitDone) << verb;
    EXPECT_THAT(test.out.str(), HasSubstr("Example:")) << verb;
    EXPECT_THAT(test.out.str(), HasSubstr(std::string("remapfs ") + verb)) << verb;
    EXPECT_EQ(test.err.str(), "") << verb;
  }
}

TEST(Run, WrongUseIsExitCode1AndOneLine) {
  TestWorld test;
  const std::vector<std::vector<const char*>> wrong{
      {},
      {"frobnicate"},
      {"frobnicate", "x"},
      {"--frobnicate"},
      {"replace", "x"},
      {"frobnicate", "x"},
      {"mount"},
      {"mount", "map"},
      {"mount", "map", "mnt", "extra"},
      {"mount", "map", "mnt", "-o", "frobnicate"},
      {"mount", "map", "mnt", "-o"},
      {"/a/map", "/mnt", "-o", "frobnicate"},
      {"status"},
      {"status", "a", "b"},
      {"status", "a", "--whim"},
      {"list", "a", "-o", "block,frobnicate"},
      {"add", "map"},
      {"add", "map", "x"},
      {"add", "map", "5-3"},
      {"remove", "map", "1", "-2"},
      {"mark-lost", "map", "0x"},
      {"import", "map"},
      {"import", "map", "list"},
      {"import", "map", "list", "--format", "dmsetup"},
      {"import", "map", "list", "--format", "badblocks"},
      {"import", "map", "list", "--format", "badblocks", "--block-size", "1000"},
      {"import", "map", "list", "--format", "badblocks", "--block-size", "0"},
      {"import", "map", "list", "--format", "badblocks", "--block-size", "x"},
      {"import", "map", "list", "--format", "badblocks", "--block-size", "512", "--as", "dead"},
      {"import", "map", "list", "--format", "ddrescue", "--block-size", "512"},
      {"import", "map", "list", "--format", "ddrescue", "--as", "weak"},
      {"import", "map", "list", "--format", "csv", "--block-size", "1536"},
      {"export", "map"},
      {"export", "map", "--format", "json"},
      {"export", "map", "--format", "csv", "--block-size", "512"},
      {"export", "map", "--format", "badblocks", "--block-size", "100"},
      {"scrub"},
      {"scrub", "map", "fly"},
      {"scrub", "map", "pause", "--rate", "1M"},
      {"scrub", "map", "--rate", "fast"},
      {"replace"},
      {"replace", "map"},
      {"replace", "map", "new", "--stop"},
      {"replace", "map", "--stop", "--status"},
      {"replace", "map", "--status", "--force"},
      {"replace", "map", "--stop", "--rate", "1M"},
      {"replace", "map", "new", "--rate", "fast"},
      {"spare", "map"},
      {"spare", "map", "add"},
      {"spare", "map", "add", "path", "--size", "1.5G"},
      {"spare", "map", "list", "path"},
      {"spare", "map", "retire"},
      {"spare", "map", "retire", "0"},
      {"spare", "map", "retire", "path"},
      {"spare", "map", "retire", "1", "--force"},
      {"upgrade"},
      {"upgrade", "--all", "map"},
      {"create"},
      {"create", "map"},
      {"create", "map", "--primary", "p"},
      {"create", "map", "--primary", "p", "--spare", "s", "--spare-size", "1.5G"},
      {"create", "map", "--primary", "p", "--spare", "s", "--block-size", "1000"},
      {"create", "map", "--primary", "p", "--spare", "s", "--block-size", "64K"},
      {"create", "map", "--primary", "p", "--spare", "s", "--block-size", "256"},
      {"create", "map", "--primary", "p"},
      {"create", "map", "--primary", "p", "--reserve", "much"},
      {"create", "map", "--primary", "p", "--reserve", "1G", "--spare", "s"},
      {"create", "map", "--primary", "p", "--reserve", "1G", "--spare-size", "1G"},
      {"recover", "map", "--primary", "p"},
      {"recover", "map", "--primary", "p", "--reserve", "much"},
      {"create", "map", "--primary", "p", "--spare", "s", "--label", "a\nb"},
  };
  for (const auto& args : wrong) {
    std::string shown;
    for (const char* arg : args) shown += std::string(" ") + arg;
    EXPECT_EQ(test.run(args), kExitUsage) << shown;
    expect_one_error_line(test);
    EXPECT_EQ(test.out.str(), "") << shown;
  }
}

TEST(Run, WhatIsNotThereIsExitCode2AndForMounts32) {
  TestWorld test;
  const std::string nothing = test.dir / "nothing";
  const char* const path = nothing.c_str();
  for (const char* verb :
       {"unmount", "attach", "detach", "status", "list", "events", "retest", "resume", "check", "destroy"}) {
    EXPECT_EQ(test.run({verb, path}), kExitCouldNot) << verb;
    expect_one_error_line(test);
  }
  for (const char* verb : {"add", "remove", "mark-lost", "clear-lost"}) {
    EXPECT_EQ(test.run({verb, path, "1"}), kExitCouldNot) << verb;
    expect_one_error_line(test);
  }
  EXPECT_EQ(test.run({"import", path, "list", "--format", "csv"}), kExitCouldNot);
  expect_one_error_line(test);
  EXPECT_EQ(test.run({"export", path, "--format", "csv"}), kExitCouldNot);
  expect_one_error_line(test);
  EXPECT_EQ(test.run({"mount", path, "/"}), kExitMount);
  expect_one_error_line(test);
  EXPECT_EQ(test.run({path, "/", "-o", "rw,dev,suid"}), kExitMount);
  expect_one_error_line(test);
  EXPECT_EQ(test.run({"mount", path, "/", "-o", "remount"}), kExitMount);
}

TEST(Run, FileOfAnotherKindIsNoMap) {
  TestWorld test;
  const std::string file = test.dir / "file";
  std::ofstream(file) << std::string(8192, 'x');
  for (const char* verb : {"status", "list", "events", "destroy", "unmount"}) {
    EXPECT_EQ(test.run({verb, file.c_str()}), kExitCouldNot) << verb;
    expect_one_error_line(test);
  }
  EXPECT_EQ(std::ifstream(file).get(), 'x');
}

// One whose daemon cannot be found is said and keeps no other from it; another user's is not even looked at.
TEST(Run, UpgradeOfAllLooksAtEveryVolumeOfThisUserOnce) {
  TestWorld test;
  EXPECT_EQ(test.run({"upgrade", "--all"}), kExitDone);
  EXPECT_THAT(test.err.str(), HasSubstr("no volume is mounted"));

  const auto line = [](int number, const std::string& map, uid_t owner) {
    return fmt::format("{0} 22 0:{0} / /mnt/{0} rw - fuse.remapfs {1} rw,user_id={2},group_id=0\n", number, map, owner);
  };
  test.set_mountinfo("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + line(30, "/none/first", test.world.uid) +
                     line(31, "/none/first", test.world.uid) + line(32, "/none/foreign", test.world.uid + 1) +
                     line(33, "/none/second", test.world.uid));
  EXPECT_EQ(test.run({"upgrade", "--all"}), kExitCouldNot);
  const std::string text = test.err.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_THAT(text, HasSubstr("/none/first"));
  EXPECT_THAT(text, HasSubstr("/none/second"));
}

}  // namespace
}  // namespace remapfs::cli
