// SPDX-License-Identifier: Apache-2.0
#include "control/block_verbs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/fake_target.hpp"

namespace remapfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

BlockRange blocks(std::uint64_t begin, std::uint64_t end) { return {BlockIndex(begin), BlockIndex(end)}; }

TEST(BlockVerbs, EveryBlockIsTriedWhateverBecomesOfTheOthers) {
  testing::FakeTarget target;
  target.on_apply = [](Verb, BlockIndex block) -> Result<Outcome> {
    if (block.value() % 2 == 1) return fail(Errc::lost);
    return Outcome::done;
  };
  std::vector<std::pair<std::uint64_t, bool>> seen;
  const std::array ranges{blocks(2, 5), blocks(9, 10)};
  const auto completion = apply_blocks(target, Verb::add, ranges, [&](const BlockReport& report) {
    seen.emplace_back(report.block.value(), report.result.has_value());
    return true;
  });
  EXPECT_THAT(seen, ElementsAre(Pair(2, true), Pair(3, false), Pair(4, true), Pair(9, false)));
  EXPECT_EQ(completion.failed, 2U);
  EXPECT_TRUE(completion.result);
}

TEST(BlockVerbs, ErrorsWithoutAMessageGetOneLine) {
  testing::FakeTarget target;
  const std::array range{blocks(3, 4)};
  for (const Errc code : {Errc::lost, Errc::no_space, Errc::read_only, Errc::suspended, Errc::failed, Errc::store,
                          Errc::media, Errc::device_gone, Errc::deadline}) {
    target.on_apply = [&](Verb, BlockIndex) -> Result<Outcome> { return fail(code, EIO); };
    for (const Verb verb : {Verb::add, Verb::remove, Verb::retest}) {
      apply_blocks(target, verb, range, [&](const BlockReport& report) {
        EXPECT_THAT(report.result.error().message, HasSubstr("block 3")) << to_string(code);
        EXPECT_EQ(report.result.error().message.find('\n'), std::string::npos);
        return true;
      });
    }
  }
}

TEST(BlockVerbs, BlocksPastTheDiskAreOneErrorARangeAndNeverReachTheVolume) {
  testing::FakeTarget target;
  target.blocks = 10;
  std::vector<std::uint64_t> failed;
  const std::array ranges{blocks(8, ~std::uint64_t{0}), blocks(~std::uint64_t{0} - 1, ~std::uint64_t{0})};
  const auto completion = apply_blocks(target, Verb::mark_lost, ranges, [&](const BlockReport& report) {
    if (!report.result) {
      EXPECT_EQ(report.result.error().code, Errc::invalid);
      EXPECT_THAT(report.result.error().message, HasSubstr("out of range"));
      failed.push_back(report.block.value());
    }
    return true;
  });
  EXPECT_THAT(target.asked(), ElementsAre(Pair(Verb::mark_lost, 8), Pair(Verb::mark_lost, 9)));
  EXPECT_THAT(failed, ElementsAre(10, ~std::uint64_t{0} - 1));
  EXPECT_EQ(completion.failed, 2U);
}

TEST(BlockVerbs, StopsAtOnceWhenNobodyListens) {
  testing::FakeTarget target;
  const std::array range{blocks(0, 100)};
  const auto completion =
      apply_blocks(target, Verb::retest, range, [](const BlockReport& report) { return report.block.value() < 2; });
  EXPECT_EQ(target.asked().size(), 3U);
  ASSERT_FALSE(completion.result);
  EXPECT_EQ(completion.result.error().code, Errc::interrupted);
}

}  // namespace
}  // namespace remapfs
