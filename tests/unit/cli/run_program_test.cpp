// SPDX-License-Identifier: Apache-2.0
#include "cli/run_program.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;

std::string children() {
  std::ifstream list("/proc/thread-self/children");
  return {std::istreambuf_iterator<char>(list), {}};
}

class RunProgram : public ::testing::Test {
 protected:
  void make(const std::string& name, const std::string& script) {
    std::ofstream(dir / name) << "#!/bin/sh\n" << script << '\n';
    std::filesystem::permissions(dir / name, std::filesystem::perms::owner_all);
  }
  Result<ProgramOutput> run(std::vector<std::string> arguments, const std::string& input = {},
                            ProgramLimits limits = {}) {
    return run_program(arguments, dir / "", input, limits);
  }
  remapfs::testing::TempDir dir;
};

TEST_F(RunProgram, GivesInputTakesOutputAndTheExitStatus) {
  make("tool", "cat; printf '%s|' \"$@\" \"$LC_ALL\" \"$SECRET\"; echo noise >&2; exit 3");
  ::setenv("SECRET", "x", 1);
  const std::string big(300'000, 'a');
  const auto output = run({"tool", "one two", ""}, big);
  ASSERT_TRUE(output) << describe(output.error());
  EXPECT_EQ(output->out, big + "one two||C||");
  EXPECT_EQ(output->exit_status, 3);
}

TEST_F(RunProgram, SaysThatItIsNotInstalled) {
  EXPECT_EQ(run({"tool"}).error().code, Errc::not_found);
  std::ofstream(dir / "tool") << "not to be run";
  EXPECT_EQ(run({"tool"}).error().code, Errc::not_found);
  // Never from the working directory.
  make("tool", "exit 0");
  EXPECT_EQ(run_program({"tool"}, ":.:relative").error().code, Errc::not_found);
  EXPECT_TRUE(run_program({"tool"}, std::string("/nowhere:") + (dir / "")));
  // Nor what others could have put there.
  std::filesystem::permissions(dir / "", std::filesystem::perms::others_write, std::filesystem::perm_options::add);
  EXPECT_EQ(run({"tool"}).error().code, Errc::not_found);
}

TEST_F(RunProgram, EndsWhatTakesTooLongOrPrintsTooMuch) {
  const auto before = children();
  make("slow", "echo begun; exec sleep 60");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run({"slow"}, {}, {200ms, 1000}).error().code, Errc::timeout);
  // One that closes its output and goes on.
  make("quiet", "exec sleep 60 > /dev/null");
  EXPECT_EQ(run({"quiet"}, {}, {200ms, 1000}).error().code, Errc::timeout);
  make("loud", "exec yes");
  EXPECT_EQ(run({"loud"}, {}, {10s, 100'000}).error().code, Errc::invalid);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  // None is left, not even as a zombie. (Other tests of this program may leave children.)
  EXPECT_EQ(children(), before);
}

TEST_F(RunProgram, ASignalIsNoExitStatus) {
  make("tool", "kill -9 $$");
  EXPECT_EQ(run({"tool"})->exit_status, -1);
}

}  // namespace
}  // namespace remapfs::cli
