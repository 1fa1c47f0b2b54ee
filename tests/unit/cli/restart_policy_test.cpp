// SPDX-License-Identifier: Apache-2.0
#include "cli/restart_policy.hpp"

#include <gtest/gtest.h>

namespace remapfs::cli {
namespace {

using std::chrono::milliseconds;

constexpr bool kKilled = true;
constexpr bool kCrashed = false;

// How many processes follow each other when each ends like this.
unsigned followers(bool killed, std::optional<milliseconds> served, unsigned at_most) {
  RestartPolicy policy;
  for (unsigned i = 0; i < at_most; ++i) {
    policy.note_end(served);
    if (!policy.next(killed)) return i;
  }
  return at_most;
}

TEST(RestartPolicy, TheFirstCrashAndEveryKillAreFollowedAtOnce) {
  RestartPolicy policy;
  EXPECT_EQ(policy.next(kCrashed), milliseconds(0));
  EXPECT_EQ(policy.next(kKilled), milliseconds(0));
  EXPECT_EQ(policy.next(kKilled), milliseconds(0));
}

TEST(RestartPolicy, CrashesInARowAreFollowedMoreAndMoreSlowlyAndThenNotAtAll) {
  RestartPolicy policy;
  milliseconds before{-1};
  milliseconds all{0};
  for (unsigned i = 0; i < RestartPolicy::kMostFailures; ++i) {
    policy.note_end(std::nullopt);
    const auto pause = policy.next(kCrashed);
    ASSERT_TRUE(pause);
    EXPECT_TRUE(*pause > before || *pause == RestartPolicy::kLongestPause);
    before = *pause;
    all += *pause;
  }
  EXPECT_EQ(before, RestartPolicy::kLongestPause);
  EXPECT_LT(all, milliseconds(60'000)) << "callers wait for this long at the most";
  EXPECT_FALSE(policy.next(kCrashed));
}

TEST(RestartPolicy, CrashesAfterGoodServiceAreFollowedForEver) {
  EXPECT_EQ(followers(kCrashed, RestartPolicy::kServedWell, 1000), 1000U);
  EXPECT_EQ(followers(kCrashed, RestartPolicy::kServedWell - milliseconds(1), 1000), RestartPolicy::kMostFailures);
}

TEST(RestartPolicy, KillsBeforeAnythingIsServedAreFollowedForAWhile) {
  EXPECT_EQ(followers(kKilled, std::nullopt, 1000), RestartPolicy::kMostEarlyKills);
}

TEST(RestartPolicy, KillsDuringServiceAreFollowedThousandsOfTimes) {
  EXPECT_EQ(followers(kKilled, milliseconds(1), 20'000), RestartPolicy::kMostKills);
  EXPECT_EQ(followers(kKilled, RestartPolicy::kServedWell, 20'000), 20'000U);
}

}  // namespace
}  // namespace remapfs::cli
