// SPDX-License-Identifier: Apache-2.0
#include "control/import_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/fake_target.hpp"

namespace remapfs {
namespace {

ImportRun run(std::uint64_t begin, std::uint64_t end, SectorMask lost) {
  return {{BlockIndex(begin), BlockIndex(end)}, lost};
}

TEST(ImportRequest, LongRunsAndManyRunsAreCutAndNothingIsLost) {
  std::vector<ImportRun> runs{run(0, 200'000, 0xFF)};
  for (std::uint64_t i = 0; i < 10'000; ++i) runs.push_back(run(300'000 + i * 2, 300'001 + i * 2, i % 255));
  const std::vector<ImportRun> all = runs;
  std::vector<ImportRun> sent;
  for (std::span<ImportRun> left(runs); !left.empty();) {
    const auto request = take_request(left);
    ASSERT_FALSE(request.empty());
    EXPECT_TRUE(decode_request(encode(Request{Verb::import_entries, {}, request})));
    sent.insert(sent.end(), request.begin(), request.end());
  }
  std::vector<ImportRun> joined;
  for (const ImportRun& one : sent) {
    const bool goes_on = !joined.empty() && joined.back().blocks.end == one.blocks.begin;
    if (goes_on) {
      EXPECT_EQ(joined.back().lost, one.lost);
      joined.back().blocks.end = one.blocks.end;
    } else {
      joined.push_back(one);
    }
  }
  EXPECT_EQ(joined, all);
}

TEST(ImportRequest, LargestRequestFitsItsBound) {
  std::vector<ImportRun> runs(2 * kMaxRangesPerRequest,
                              run(RemapTable::kMaxBlocks - 1, RemapTable::kMaxBlocks, ~std::uint64_t{0}));
  std::span<ImportRun> left(runs);
  const auto request = take_request(left);
  EXPECT_EQ(request.size(), kMaxRangesPerRequest);
  EXPECT_LE(encode(Request{Verb::import_entries, {}, request}).size(), kMaxRequestBytes);
}

TEST(ImportRequest, WhatWasDoneBeforeAFailureIsTold) {
  testing::FakeTarget target;
  target.on_import = [](std::span<const ImportRun>, ImportCounts& counts) -> Result<void> {
    counts.lost_blocks += 7;
    return fail(Errc::store, 28);
  };
  const auto completion = apply_import(target, std::vector{run(0, 9, 1)});
  ASSERT_FALSE(completion.result);
  EXPECT_EQ(completion.result.error().message,
            "the map cannot be written (No space left on device), this volume, make room for it and import again");
  EXPECT_EQ(completion.imported->lost_blocks, 7U);
}

}  // namespace
}  // namespace remapfs
