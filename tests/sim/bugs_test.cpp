// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/bug.hpp"
#include "sim/bug_names.hpp"
#include "sim/life.hpp"
#include "support/random.hpp"
#include "support/soak.hpp"

// The simulator bites: this program has the volume and the store with deliberate bugs in them, and every one of them is
// caught when it is switched on.

namespace remapfs::sim {

namespace {
std::string_view switched_on;
}  // namespace

bool bug(std::string_view name) { return name == switched_on; }
void switch_on_bug(std::string_view name) { switched_on = name; }

namespace {

constexpr std::size_t kStepsOfALife = 150;
constexpr std::uint64_t kMostLives = 600;

class Bug : public ::testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { switch_on_bug({}); }
};

// Rare circumstances, and the life that met them last: where the ordinary form begins, to be done in seconds. When the
// simulator changes another life meets them, and this is only slower until the number is mended.
constexpr std::pair<std::string_view, std::uint64_t> kLastCaught[] = {
    {"missing_device_taken_for_bad_sector", 44},
    {"move_between_spares_not_told", 288},
    {"new_spare_not_told", 26},
    {"slot_reused_early", 190},
    {"sync_failure_forgotten", 79},
    {"sync_failure_forgotten_by_the_next", 157},
    {"writes_of_the_killed_not_told", 255},
};

std::uint64_t first_life(std::string_view bug) {
  const auto* const known = std::ranges::find(kLastCaught, bug, &std::pair<std::string_view, std::uint64_t>::first);
  return testing::soaking() || known == std::end(kLastCaught) ? 1 : known->second;
}

TEST_P(Bug, IsCaught) {
  switch_on_bug(GetParam());
  testing::Random random(1);  // the same lives every time: a bug that is caught stays caught
  std::vector<std::uint64_t> lives(kMostLives);
  std::ranges::generate(lives, std::ref(random));
  const std::uint64_t first = first_life(GetParam());
  std::uint64_t cuts = 0;
  for (std::uint64_t tried = 0; tried < kMostLives; ++tried) {
    const std::uint64_t life = (first - 1 + tried) % kMostLives + 1;
    const Script script = make_script(lives[life - 1], kStepsOfALife);
    const Outcome outcome = live(script);
    cuts += outcome.cuts;
    if (!outcome.failure) continue;
    std::printf("%s: caught in life %llu after %llu crash points: %s\n", GetParam(),
                static_cast<unsigned long long>(life), static_cast<unsigned long long>(cuts), outcome.failure->c_str());
    switch_on_bug({});
    const Outcome without = live(script);
    EXPECT_FALSE(without.failure) << "it is not the bug that fails: " << *without.failure;
    return;
  }
  FAIL() << "not caught in " << kMostLives << " lives with " << cuts << " crash points";
}

INSTANTIATE_TEST_SUITE_P(Simulator, Bug, ::testing::ValuesIn(kBugNames),
                         [](const auto& named) { return std::string(named.param); });

// What a person is shown of a life that went wrong: a few steps that still go wrong.
TEST(SimulatorWithBugs, AFailureIsShortened) {
  switch_on_bug("acknowledged_without_commit");
  testing::Random random(1);
  Script failing = make_script(random(), kStepsOfALife);
  while (!live(failing).failure) failing = make_script(random(), kStepsOfALife);
  const Script shortest = shrink(failing, 400);
  const Outcome outcome = live(shortest, true);
  switch_on_bug({});
  ASSERT_TRUE(outcome.failure);
  EXPECT_LE(shortest.steps.size(), 12U);
  EXPECT_FALSE(outcome.trace.empty());
  EXPECT_FALSE(live(shortest).failure) << "it is the bug that fails, not the life";
  std::printf("%zu steps shortened to %zu: %s\n", failing.steps.size(), shortest.steps.size(),
              outcome.failure->c_str());
}

TEST(SimulatorWithBugs, CatchesNothingWhileTheyAreSwitchedOff) {
  testing::Random random(1);
  for (int life = 0; life < 10; ++life) {
    const Outcome outcome = live(make_script(random(), kStepsOfALife));
    EXPECT_FALSE(outcome.failure) << "life " << life << ": " << *outcome.failure;
  }
}

}  // namespace
}  // namespace remapfs::sim
