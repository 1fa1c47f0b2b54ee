// SPDX-License-Identifier: Apache-2.0
#include "sim/script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sim/life.hpp"
#include "support/random.hpp"

namespace remapfs::sim {

using testing::Random;

std::string to_string(const Step& step) {
  constexpr std::array<const char*, 11> kNames{
      "requests", "primary_fault", "primary_healed", "spare_fault", "sync_failure", "map_failure",
      "vanish",   "slow",          "members",        "remount",     "cut"};
  return fmt::format("{} {:#x}", kNames[static_cast<std::size_t>(step.kind)], step.seed);
}

Script make_script(std::uint64_t seed, std::size_t count) {
  using Kind = Step::Kind;
  constexpr std::array<std::pair<Kind, unsigned>, 11> kShares{{{Kind::requests, 42},
                                                               {Kind::primary_fault, 12},
                                                               {Kind::primary_healed, 5},
                                                               {Kind::spare_fault, 3},
                                                               {Kind::sync_failure, 1},
                                                               {Kind::map_failure, 6},
                                                               {Kind::vanish, 2},
                                                               {Kind::slow, 1},
                                                               {Kind::members, 6},
                                                               {Kind::remount, 2},
                                                               {Kind::cut, 20}}};
  Random random(seed);
  Script script;
  script.seed = random();
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t dice = random.below(100);
    for (const auto& [kind, share] : kShares) {
      if (dice < share) {
        script.steps.push_back({kind, random()});
        break;
      }
      dice -= share;
    }
  }
  return script;
}

Script shrink(const Script& script, std::size_t lives) {
  Script best = script;
  const auto fails = [&](const Script& candidate) {
    --lives;
    const Outcome outcome = live(candidate);
    if (!outcome.failure) return false;
    best = candidate;
    best.steps.resize(std::min(best.steps.size(), outcome.failed_step + 1));
    return true;
  };
  for (std::size_t piece = std::max<std::size_t>(best.steps.size() / 2, 1); lives > 0;) {
    bool shorter = false;
    for (std::size_t at = 0; at < best.steps.size() && lives > 0;) {
      Script candidate = best;
      const auto first = candidate.steps.begin() + static_cast<std::ptrdiff_t>(at);
      candidate.steps.erase(first, first + static_cast<std::ptrdiff_t>(std::min(piece, candidate.steps.size() - at)));
      if (fails(candidate)) {
        shorter = true;
      } else {
        at += piece;
      }
    }
    if (piece == 1 && !shorter) break;
    piece = std::max<std::size_t>(piece / 2, 1);
  }
  return best;
}

}  // namespace remapfs::sim
