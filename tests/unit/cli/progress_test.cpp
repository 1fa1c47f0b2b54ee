// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/cli/test_world.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class ProgressShown : public ::testing::Test {
 protected:
  Progress::Clock::time_point now;
  std::function<Progress::Clock::time_point()> clock = [this] { return now; };
  testing::TestWorld test;
};

TEST_F(ProgressShown, ShortWorkPrintsNothing) {
  {
    Progress progress(test.world, "importing", 100, Progress::Unit::blocks, false, clock);
    now += 4s;
    progress.update(99);
  }
  EXPECT_EQ(test.err.str(), "");
}

TEST_F(ProgressShown, LongWorkIsALineNowAndThen) {
  Progress progress(test.world, "importing", 1000, Progress::Unit::blocks, false, clock);
  now += 5s;
  progress.update(100);
  progress.update(101);
  now += 5s;
  progress.update(1000);
  EXPECT_EQ(test.err.str(),
            "importing:  10 % 100 of 1000 blocks, 20/s, 45 s left\n"
            "importing: 100 % 1000 of 1000 blocks, 100/s, 0 s left\n");
}

TEST_F(ProgressShown, ATerminalGetsABarThatGoesAwayAtTheEnd) {
  test.world.err_is_terminal = true;
  {
    Progress progress(test.world, "importing", 1000, Progress::Unit::blocks, false, clock);
    progress.update(1);
    EXPECT_EQ(test.err.str(), "");
    now += 1s;
    progress.update(500);
    EXPECT_EQ(test.err.str(), "\r\x1b[Kimporting [##########----------]  50 % 500 of 1000 blocks, 500/s, 1 s left");
  }
  EXPECT_THAT(test.err.str(), EndsWith("\r\x1b[K"));
}

TEST_F(ProgressShown, BytesAreInUnitsAndAnUnknownEndHasNoBar) {
  test.world.err_is_terminal = true;
  Progress progress(test.world, "reading", 0, Progress::Unit::bytes, false, clock);
  now += 2s;
  progress.update(3 << 20U);
  EXPECT_EQ(test.err.str(), "\r\x1b[Kreading 3M, 1.5M/s");
}

TEST_F(ProgressShown, MoreThanWasSaidIsAllOfIt) {
  Progress progress(test.world, "reading", 10, Progress::Unit::blocks, false, clock);
  now += 3h;
  progress.update(20);
  EXPECT_THAT(test.err.str(), HasSubstr("100 % 20 of 10 blocks, 0/s, 0 s left"));
}

TEST_F(ProgressShown, SilentIsSilent) {
  Progress progress(test.world, "importing", 1000, Progress::Unit::blocks, true, clock);
  now += 1h;
  progress.update(10);
  EXPECT_EQ(test.err.str(), "");
}

}  // namespace
}  // namespace remapfs::cli
