// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/bug.hpp"
#include "sim/bugs.hpp"
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

class Bug : public ::testing::TestWithParam<KnownBug> {
 protected:
  void TearDown() override { switch_on_bug({}); }
};

TEST_P(Bug, IsCaught) {
  const auto [name, last_caught] = GetParam();
  switch_on_bug(name);
  testing::Random random(1);  // the same lives every time: a bug that is caught stays caught
  std::vector<std::uint64_t> lives(kMostLives);
  std::ranges::generate(lives, std::ref(random));
  const std::uint64_t first = testing::soaking() ? 1 : last_caught;
  std::uint64_t cuts = 0;
  for (std::uint64_t tried = 0; tried < kMostLives; ++tried) {
    const std::uint64_t life = (first - 1 + tried) % kMostLives + 1;
    const Script script = make_script(lives[life - 1], kStepsOfALife);
    const Outcome outcome = live(script);
    cuts += outcome.cuts;
    if (!outcome.failure) continue;
    std::printf("%s: caught in life %llu after %llu crash points: %s\n", name, static_cast<unsigned long long>(life),
                static_cast<unsigned long long>(cuts), outcome.failure->c_str());
    switch_on_bug({});
    const Outcome without = live(script);
    EXPECT_FALSE(without.failure) << "it is not the bug that fails: " << *without.failure;
    return;
  }
  FAIL() << "not caught in " << kMostLives << " lives with " << cuts << " crash points";
}

INSTANTIATE_TEST_SUITE_P(Simulator, Bug, ::testing::ValuesIn(kBugs),
                         [](const auto& named) { return std::string(named.param.name); });

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
