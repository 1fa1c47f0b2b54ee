// SPDX-License-Identifier: Apache-2.0
#include "exchange/ddrescue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "support/text_source.hpp"

namespace remapfs::exchange {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 64U << 20U;

Result<void> read(std::string_view text, DamageList& list) {
  auto lines = testing::lines_of(text);
  return read_ddrescue(lines, list);
}

TEST(Ddrescue, EveryStatusAndEveryWayToWriteANumber) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(
      read("# Mapfile. Created by GNU ddrescue version 1.27\n"
           "  # another comment\n\n"
           "0x1000     ?               2\n"
           "#      pos        size  status\n"
           "0x00000000  512  -\t# a comment behind\n"
           "512  01000  *\r\n"
           "\t1024  0x200  /\n"
           "1536 512 +\n"
           "2048 512 ?\n"
           "0x00001000  0X00000400  -\n",
           list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 1, Damage::lost}, DamagedRun{1, 3, Damage::weak},
                                       DamagedRun{8, 10, Damage::lost}));
}

TEST(Ddrescue, StatusLinesOfEveryPhaseWithAndWithoutAPass) {
  for (const char* line : {"0 ?", "0 * 1", "0 / 9", "0x10 - 2", "0 F 1", "0 G 1", "0 + 1 # done"}) {
    DamageList list{ByteCount(kDisk)};
    EXPECT_TRUE(read(std::string(line) + "\n0 512 -\n", list)) << line;
    EXPECT_EQ(list.runs().size(), 1U);
  }
}

TEST(Ddrescue, BlocksAreCutAtTheEndOfTheDisk) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("0 + 1\n0 0x3FFFE00 +\n0x3FFFE00 0x10000 -\n0x400FE00 0x7FFFFFFFFBFF01FF /\n", list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{kDisk / 512 - 1, kDisk / 512, Damage::lost}));
  EXPECT_EQ(list.outside().in_part, 1U);
  EXPECT_EQ(list.outside().whole, 1U);
}

TEST(Ddrescue, WhatIsNoMapFileIsRefusedWithItsLine) {
  const std::pair<const char*, int> wrong[] = {
      {"", 0},
      {"# only comments\n", 1},
      {"\x7f"
       "ELF\n",
       1},
      {"0 512 -\n", 1},
      {"0 X 1\n", 1},
      {"-1 + 1\n", 1},
      {"0 + 0\n", 1},
      {"0 + 0x1\n", 1},
      {"0 + 1 1\n", 1},
      {"0 + 1\n0 512\n", 2},
      {"0 + 1\n0 512 x\n", 2},
      {"0 + 1\n0 512 --\n", 2},
      {"0 + 1\n0 512 - 1\n", 2},
      {"0 + 1\n0 -512 -\n", 2},
      {"0 + 1\n08 512 -\n", 2},
      {"0 + 1\n0 0 -\n", 2},
      {"0 + 1\n0 512 -#no comment\n", 2},
      {"0 + 1\n0 512 -\n256 512 -\n", 3},
      {"0 + 1\n512 512 -\n0 512 -\n", 3},
      {"0 + 1\n0x7FFFFFFFFFFFFFFF 1 -\n", 2},
      {"0 + 1\n512 0xFFFFFFFFFFFFFFFF -\n", 2},
      {"0 + 1\n18446744073709551616 1 -\n", 2},
  };
  for (const auto& [text, line] : wrong) {
    DamageList list{ByteCount(kDisk)};
    const auto refused = read(text, list);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_THAT(refused.error().message, HasSubstr("list line " + std::to_string(line) + " (")) << text;
  }
}

TEST(Ddrescue, WhatIsWrittenIsReadTheSameAndWrittenTheSame) {
  const std::string text =
      "# Mapfile. Created by remapfs: - lost, / weak, + the rest\n"
      "# current_pos  current_status  current_pass\n"
      "0x00000000     +               1\n"
      "#      pos        size  status\n"
      "0x00000000  0x00000200  -\n"
      "0x00000200  0x00001E00  /\n"
      "0x00002000  0x03FFDE00  +\n"
      "0x03FFFE00  0x00000200  -\n";
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read(text, list));
  std::ostringstream out;
  write_ddrescue(list.runs(), ByteCount(kDisk), out);
  EXPECT_EQ(out.str(), text);
}

}  // namespace
}  // namespace remapfs::exchange
