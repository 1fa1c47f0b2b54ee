// SPDX-License-Identifier: Apache-2.0
#include "volume/block_gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "support/random.hpp"

namespace remapfs::testing {
namespace {

using std::chrono::milliseconds;

BlockRange blocks(std::uint64_t begin, std::uint64_t end) { return {BlockIndex(begin), BlockIndex(end)}; }

TEST(BlockGate, RequestsShareBlocks) {
  BlockGate gate;
  const auto one = gate.enter(blocks(0, 8), Deadline(milliseconds(1000)));
  const auto other = gate.enter(blocks(4, 9), Deadline(milliseconds(1000)));
  EXPECT_TRUE(one);
  EXPECT_TRUE(other);
}

TEST(BlockGate, HeldBlockKeepsRequestsOutUntilLetGo) {
  BlockGate gate;
  std::optional<BlockGate::Hold> hold(*gate.exclude(blocks(5, 6), Deadline(milliseconds(1000))));
  EXPECT_EQ(gate.enter(blocks(0, 6), Deadline(milliseconds(5))).error().code, Errc::deadline);
  // Neighbours, also in the same stripe, are not kept out.
  EXPECT_TRUE(gate.enter(blocks(0, 5), Deadline(milliseconds(5))));
  EXPECT_TRUE(gate.enter(blocks(6, 7), Deadline(milliseconds(5))));
  hold.reset();
  EXPECT_TRUE(gate.enter(blocks(0, 6), Deadline(milliseconds(5))));
}

TEST(BlockGate, HoldWaitsForRequestsInside) {
  BlockGate gate;
  auto pass = std::make_optional(*gate.enter(blocks(10, 12), Deadline(milliseconds(1000))));
  EXPECT_EQ(gate.exclude(blocks(11, 12), Deadline(milliseconds(20))).error().code, Errc::deadline);
  EXPECT_TRUE(gate.exclude(blocks(12, 13), Deadline(milliseconds(20))));
  pass.reset();
  EXPECT_TRUE(gate.exclude(blocks(11, 12), Deadline(milliseconds(20))));
}

TEST(BlockGate, HoldThatGivesUpLeavesNothingBehind) {
  BlockGate gate;
  {
    const auto pass = gate.enter(blocks(1, 2), Deadline(milliseconds(1000)));
    EXPECT_FALSE(gate.exclude(blocks(0, 1 << 20), Deadline(milliseconds(10))));
  }
  EXPECT_TRUE(gate.enter(blocks(500, 600), Deadline(milliseconds(5))));
  EXPECT_TRUE(gate.exclude(blocks(0, 1 << 20), Deadline(milliseconds(5))));
}

TEST(BlockGate, OverlappingHoldsExcludeEachOther) {
  BlockGate gate;
  const auto hold = gate.exclude(blocks(0, 10), Deadline(milliseconds(5)));
  EXPECT_FALSE(gate.exclude(blocks(9, 12), Deadline(milliseconds(5))));
  EXPECT_TRUE(gate.exclude(blocks(10, 12), Deadline(milliseconds(5))));
}

// Small holds overlap in time without end: at no moment is all of it free.
TEST(BlockGate, WhoWantsManyBlocksHasHisTurn) {
  BlockGate gate;
  std::atomic<bool> done{false};
  std::vector<std::jthread> others;
  for (std::uint64_t t = 0; t < 6; ++t) {
    others.emplace_back([&, t] {
      while (!done) {
        const auto hold = gate.exclude(blocks(t, t + 1), Deadline(milliseconds(20000)));
        ASSERT_TRUE(hold);
        std::this_thread::sleep_for(milliseconds(3));
      }
    });
  }
  std::this_thread::sleep_for(milliseconds(20));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(gate.exclude(blocks(0, 100), Deadline(milliseconds(5000)))) << i;
  done = true;
}

TEST(BlockGate, WhoWaitsForLongDoesNotKeepOthersWaiting) {
  BlockGate gate;
  auto stuck = std::make_optional(*gate.exclude(blocks(1, 2), Deadline(milliseconds(1000))));
  std::atomic<bool> had_all{false};
  std::jthread wants_all([&] { had_all = gate.exclude(blocks(0, 100), Deadline(milliseconds(20000))).has_value(); });
  while (gate.exclude(blocks(50, 51), Deadline(milliseconds(0)))) std::this_thread::yield();
  // It is his turn now; but he may be waiting for this thread.
  EXPECT_TRUE(gate.exclude_another(blocks(60, 61), Deadline(milliseconds(0))));
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(gate.exclude(blocks(50, 51), Deadline(milliseconds(20000))));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10 * BlockGate::kTurn);
  EXPECT_TRUE(gate.enter(blocks(50, 51), Deadline(milliseconds(0)))) << "requests wait for holds only";
  EXPECT_FALSE(had_all);
  stuck.reset();
  wants_all.join();
  EXPECT_TRUE(had_all);
}

// On a slow disk every hold lasts, and there are always some: but each that ends is not followed by another one.
TEST(BlockGate, WhoWantsManyBlocksHasHisTurnAlsoWhereHoldsLast) {
  BlockGate gate;
  std::atomic<bool> done{false};
  std::vector<std::jthread> others;
  for (std::uint64_t t = 0; t < 6; ++t) {
    others.emplace_back([&, t] {
      std::this_thread::sleep_for(milliseconds(120 * t));
      while (!done) {
        const auto hold = gate.exclude(blocks(t, t + 1), Deadline(milliseconds(20000)));
        ASSERT_TRUE(hold);
        std::this_thread::sleep_for(milliseconds(700));
      }
    });
  }
  std::this_thread::sleep_for(milliseconds(700));
  EXPECT_TRUE(gate.exclude(blocks(0, 100), Deadline(milliseconds(10000))));
  done = true;
}

// Every holder changes a plain variable of its block that requests read twice: any overlap shows as a change between
// the two reads (and as a data race under the thread sanitizer).
TEST(BlockGate, NobodyIsInsideWhileABlockIsHeld) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed_message(seed));
  constexpr std::uint64_t kBlocks = 8;
  BlockGate gate;
  std::array<std::uint64_t, kBlocks> values{};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> holds{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      for (int i = 0; i < 4000; ++i) {
        const std::uint64_t first = random.below(kBlocks);
        const BlockRange range = blocks(first, first + random.between(1, kBlocks - first + 1));
        if (t < 2) {
          const auto hold = gate.exclude(range, Deadline(milliseconds(20000)));
          ASSERT_TRUE(hold);
          for (std::uint64_t b = range.begin.value(); b < range.end.value(); ++b) ++values[b];
          ++holds;
        } else {
          const auto pass = gate.enter(range, Deadline(milliseconds(20000)));
          ASSERT_TRUE(pass);
          for (std::uint64_t b = range.begin.value(); b < range.end.value(); ++b) {
            const volatile std::uint64_t* value = &values[b];
            if (*value != *value) ++torn;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, 0U);
  EXPECT_EQ(holds, 8000U);
}

TEST(BlockGate, HolderIsToldThatSomebodyWaits) {
  BlockGate gate;
  const auto mine = [&] { return gate.exclude(blocks(10, 20), Deadline(milliseconds(20000))); };
  std::optional<BlockGate::Hold> hold(*mine());
  EXPECT_FALSE(hold->wanted());
  EXPECT_TRUE(gate.enter(blocks(20, 30), Deadline(milliseconds(5))));
  EXPECT_FALSE(gate.enter(blocks(19, 21), Deadline(milliseconds(5))));
  EXPECT_FALSE(gate.exclude(blocks(0, 11), Deadline(milliseconds(5))));
  EXPECT_FALSE(hold->wanted()) << "they have given up";
  for (const bool exclusive : {false, true}) {
    std::thread waiter([&] {
      const Deadline deadline(milliseconds(20000));
      EXPECT_TRUE(exclusive ? gate.exclude(blocks(5, 11), deadline).has_value()
                            : gate.enter(blocks(19, 21), deadline).has_value());
    });
    while (!hold->wanted()) std::this_thread::yield();
    hold.reset();
    waiter.join();
    hold.emplace(*mine());
    EXPECT_FALSE(hold->wanted());
  }
}

}  // namespace
}  // namespace remapfs::testing
