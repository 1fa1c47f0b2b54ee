// SPDX-License-Identifier: Apache-2.0
#include "cli/arguments.hpp"

#include <gtest/gtest.h>

namespace remapfs::cli {
namespace {

TEST(ParseSize, UnitsArePowersOf1024) {
  const std::pair<const char*, std::uint64_t> sizes[] = {
      {"0", 0},
      {"1", 1},
      {"512", 512},
      {"4K", 4096},
      {"4k", 4096},
      {"1M", 1U << 20U},
      {"3g", std::uint64_t{3} << 30U},
      {"2T", std::uint64_t{2} << 40U},
      {"18446744073709551615", ~std::uint64_t{0}},
      {"16777215T", std::uint64_t{16777215} << 40U},
  };
  for (const auto& [text, bytes] : sizes) {
    const auto size = parse_size(text);
    ASSERT_TRUE(size) << text;
    EXPECT_EQ(*size, bytes) << text;
  }
}

TEST(ParseSize, WhatIsNoWholeSizeIsRefused) {
  for (const char* text : {"", "K", "1KB", "1.5G", "-1", "+1", " 1", "1 ", "0x10", "1P", "one", "1KK",
                           "18446744073709551616", "16777216T", "99999999999G"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(ParseBlocks, RangesIncludeBothEnds) {
  const std::tuple<const char*, std::uint64_t, std::uint64_t> ranges[] = {
      {"0", 0, 1},      {"17", 17, 18},     {"0x11", 17, 18},
      {"0X1f", 31, 32}, {"16-31", 16, 32},  {"0x10-0x1f", 16, 32},
      {"7-7", 7, 8},    {"0-0xff", 0, 256}, {"18446744073709551614", ~std::uint64_t{0} - 1, ~std::uint64_t{0}},
  };
  for (const auto& [text, begin, end] : ranges) {
    const auto range = parse_blocks(text);
    ASSERT_TRUE(range) << text;
    EXPECT_EQ(range->begin.value(), begin) << text;
    EXPECT_EQ(range->end.value(), end) << text;
  }
}

TEST(ParseBlocks, WhatIsNoBlockIsRefused) {
  for (const char* text : {"", "-", "1-", "-1", "a", "0x", "0xg", "1-2-3", "2-1", "1,2", "1 2", "1.0",
                           "18446744073709551615", "0-18446744073709551615", "18446744073709551616"}) {
    EXPECT_FALSE(parse_blocks(std::string_view(text))) << text;
  }
}

TEST(ParseBlocks, OneBadArgumentRefusesAll) {
  EXPECT_TRUE(parse_blocks(std::vector<std::string>{"1", "2-3"}));
  EXPECT_FALSE(parse_blocks(std::vector<std::string>{"1", "x"}));
}

}  // namespace
}  // namespace remapfs::cli
