// SPDX-License-Identifier: Apache-2.0
#include "exchange/badblocks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "support/text_source.hpp"

namespace remapfs::exchange {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 64U << 20U;

Result<void> read(std::string_view text, std::uint64_t unit, DamageList& list, Damage damage = Damage::lost) {
  auto lines = testing::lines_of(text);
  return read_badblocks(lines, unit, damage, list);
}

std::string written(DamageList& list, std::uint64_t unit) {
  std::ostringstream out;
  write_badblocks(list.runs(), unit, out);
  return out.str();
}

TEST(Badblocks, NumbersAreInTheGivenUnit) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("0\n3\r\n\n# a comment\n  7 \n", 1024, list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 2, Damage::lost}, DamagedRun{6, 8, Damage::lost},
                                       DamagedRun{14, 16, Damage::lost}));
  DamageList weak{ByteCount(kDisk)};
  ASSERT_TRUE(read("1\n", 512, weak, Damage::weak));
  EXPECT_THAT(weak.runs(), ElementsAre(DamagedRun{1, 2, Damage::weak}));
}

TEST(Badblocks, AllOf64BitsIsReadAndNothingComesRound) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("4294967296\n9007199254740992\n36028797018963968\n18446744073709551615\n", 512, list));
  EXPECT_THAT(list.runs(), ElementsAre());
  EXPECT_EQ(list.outside().whole, 4U);
  DamageList large{ByteCount(std::uint64_t{1} << 62U)};
  ASSERT_TRUE(read("4294967296\n", 4096, large));
  EXPECT_THAT(large.runs(), ElementsAre(DamagedRun{4294967296 * 8, 4294967297 * 8, Damage::lost}));
}

TEST(Badblocks, WhatIsNoListIsRefusedWithItsLine) {
  for (const char* wrong : {"x", "-1", "0x10", "1.5", "1 2", "1,2", "18446744073709551616", "1\v", "\x80\x81", "+1"}) {
    DamageList list{ByteCount(kDisk)};
    const auto refused = read(std::string("5\n\n") + wrong + "\n6\n", 512, list);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_THAT(refused.error().message, HasSubstr("list line 3 (")) << wrong;
  }
}

TEST(Badblocks, UnitsAreWholeSectors) {
  for (const std::uint64_t good : {512U, 1024U, 1536U, 4096U, 1U << 30U}) EXPECT_TRUE(is_valid_list_unit(good)) << good;
  for (const std::uint64_t wrong : {0ULL, 1ULL, 511ULL, 513ULL, 1000ULL, (1ULL << 30U) + 512}) {
    EXPECT_FALSE(is_valid_list_unit(wrong)) << wrong;
  }
}

TEST(Badblocks, WhatWasReadIsWrittenTheSameInTheSameUnit) {
  const std::string text = "0\n1\n7\n100\n16383\n";
  for (const std::uint64_t unit : {512U, 1024U, 1536U, 4096U}) {
    DamageList list{ByteCount(kDisk)};
    ASSERT_TRUE(read(text, unit, list));
    EXPECT_EQ(written(list, unit), text) << unit;
  }
}

TEST(Badblocks, LargerUnitsAreWrittenOnceAndSmallerOnesAllOfThem) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("2\n3\n9\n", 512, list));
  EXPECT_EQ(written(list, 4096), "0\n1\n");
  EXPECT_EQ(written(list, 1024), "1\n4\n");
  DamageList coarse{ByteCount(kDisk)};
  ASSERT_TRUE(read("1\n", 2048, coarse));
  EXPECT_EQ(written(coarse, 512), "4\n5\n6\n7\n");
}

}  // namespace
}  // namespace remapfs::exchange
