// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "sim/life.hpp"
#include "support/random.hpp"
#include "support/soak.hpp"

// Lives of volumes on simulated devices, files, threads and clocks. What a life does comes from one seed.

namespace remapfs::sim {
namespace {

using testing::Random;

constexpr std::size_t kStepsOfALife = 150;

// The only life to be lived, of those of a seed; none: all.
std::optional<std::uint64_t> chosen_life() {
  const char* const text = std::getenv("REMAPFS_TEST_LIFE");
  return text == nullptr ? std::nullopt : std::optional(std::strtoull(text, nullptr, 10));
}

// What a person needs to know of a life that went wrong.
std::string tell(const Script& script, const Outcome& outcome) {
  std::string text = *outcome.failure + "\nshortened to:\n";
  const Script shortest = shrink(script, 400);
  const Outcome shown = live(shortest, true);
  for (const std::string& line : shown.trace) text += line + '\n';
  return text + shown.failure.value_or("(and does not fail any more)");
}

// Two halves, for two processors.
class Simulator : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Simulator, NoLifeBreaksAPromise) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  Random random(seed + GetParam());
  std::uint64_t lives = 0;
  Outcome all;
  const auto chosen = chosen_life();
  for (const std::uint64_t wanted = testing::soaking() ? 52'000 : 2'000; all.cuts < wanted; ++lives) {
    const Script script = make_script(random(), kStepsOfALife);
    if (chosen && lives != *chosen) continue;
    const Outcome outcome = live(script);
    ASSERT_FALSE(outcome.failure) << "life " << lives << ", alone with REMAPFS_TEST_LIFE=" << lives << ": "
                                  << tell(script, outcome);
    if (chosen) return;
    all.cuts += outcome.cuts;
    all.requests += outcome.requests;
    all.relocations += outcome.relocations;
    all.proven += outcome.proven;
    all.joined += outcome.joined;
    all.retired += outcome.retired;
    all.replaced += outcome.replaced;
    all.taken_over += outcome.taken_over;
  }
  std::printf(
      "lives=%llu crash points=%llu requests=%llu relocated blocks=%llu proven by the spares=%llu spares "
      "joined=%llu left=%llu primaries replaced=%llu mounts taken over=%llu\n",
      static_cast<unsigned long long>(lives), static_cast<unsigned long long>(all.cuts),
      static_cast<unsigned long long>(all.requests), static_cast<unsigned long long>(all.relocations),
      static_cast<unsigned long long>(all.proven), static_cast<unsigned long long>(all.joined),
      static_cast<unsigned long long>(all.retired), static_cast<unsigned long long>(all.replaced),
      static_cast<unsigned long long>(all.taken_over));
  EXPECT_GT(all.relocations, lives);
  EXPECT_GT(all.proven, all.cuts / 2);
  EXPECT_GT(all.joined, 0U);
  EXPECT_GT(all.retired, 0U);
  EXPECT_GT(all.replaced, 0U);
  EXPECT_GT(all.taken_over, 0U);
}

INSTANTIATE_TEST_SUITE_P(Halves, Simulator, ::testing::Values(0, 1));

TEST(SimulatorItself, OneSeedGivesOneLife) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Script script = make_script(seed, kStepsOfALife);
    const Outcome first = live(script, true);
    const Outcome second = live(script, true);
    EXPECT_EQ(first.failure, second.failure);
    ASSERT_EQ(first.trace.size(), second.trace.size());
    for (std::size_t i = 0; i < first.trace.size(); ++i) {
      // Messages of the store name the folder of a life.
      if (first.trace[i].find("/map") != std::string::npos) continue;
      ASSERT_EQ(first.trace[i], second.trace[i]);
    }
    EXPECT_EQ(first.cuts, second.cuts);
    EXPECT_EQ(first.requests, second.requests);
    EXPECT_EQ(first.relocations, second.relocations);
  }
}

}  // namespace
}  // namespace remapfs::sim
