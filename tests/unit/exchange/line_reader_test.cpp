// SPDX-License-Identifier: Apache-2.0
#include "exchange/line_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "exchange/number.hpp"
#include "support/text_source.hpp"

namespace remapfs::exchange {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> all_lines(LineReader lines) {
  std::vector<std::string> all;
  for (auto line = lines.next(); line && *line; line = lines.next()) all.emplace_back(**line);
  return all;
}

TEST(LineReader, LinesEndWithLfOrCrLfAndTheLastMayEndWithTheFile) {
  for (const std::size_t piece : {1U, 2U, 3U, 1000U}) {
    EXPECT_THAT(all_lines(testing::lines_of("a\r\n\nbc\nd", piece)), ElementsAre("a", "", "bc", "d")) << piece;
  }
  EXPECT_THAT(all_lines(testing::lines_of("")), ElementsAre());
  EXPECT_THAT(all_lines(testing::lines_of("\n")), ElementsAre(""));
}

TEST(LineReader, LongestLineIsReadAndALongerOneRefused) {
  const std::string longest(LineReader::kMaxLine, 'x');
  for (const std::string end : {"", "\n"}) {
    const std::string fits = "1\n" + longest + end;
    EXPECT_EQ(all_lines(testing::lines_of(fits)).size(), 2U);
    const std::string longer = "1\n" + longest + "x" + end;
    auto lines = testing::lines_of(longer);
    ASSERT_TRUE(lines.next());
    const auto refused = lines.next();
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("list line 2 (xxxx"));
    EXPECT_LT(refused.error().message.size(), 200U);
  }
}

TEST(LineReader, AFileWithoutALineEndIsRefusedInLittleMemory) {
  std::uint64_t given = 0;
  LineReader lines(
      [&](std::span<char> buffer) -> Result<std::size_t> {
        std::fill(buffer.begin(), buffer.end(), '\0');
        given += buffer.size();
        return buffer.size();
      },
      "zeros");
  EXPECT_FALSE(lines.next());
  EXPECT_LE(given, 1U << 20U);
}

TEST(LineReader, WhatATerminalWouldObeyIsNotShown) {
  auto lines = testing::lines_of("\x1b[2Jevil\xff\n");
  ASSERT_TRUE(lines.next());
  const std::string message = lines.refuse("wrong", "mend it").value().message;
  EXPECT_EQ(message, "wrong, list line 1 (?[2Jevil?), mend it");
}

TEST(LineReader, ErrorsOfTheSourceArePassedOn) {
  LineReader lines([](std::span<char>) -> Result<std::size_t> { return fail(Errc::media, 5); }, "disk");
  EXPECT_EQ(lines.next().error().code, Errc::media);
}

TEST(Number, ConstantsAreThoseOfCxx) {
  EXPECT_EQ(parse_constant("0"), 0U);
  EXPECT_EQ(parse_constant("17"), 17U);
  EXPECT_EQ(parse_constant("017"), 15U);
  EXPECT_EQ(parse_constant("0x1f"), 31U);
  EXPECT_EQ(parse_constant("0XFFFFFFFFFFFFFFFF"), ~std::uint64_t{0});
  EXPECT_EQ(parse_constant("18446744073709551615"), ~std::uint64_t{0});
  for (const char* wrong :
       {"", "-1", "+1", " 1", "1 ", "0x", "08", "1f", "18446744073709551616", "0x1ffffffffffffffff"}) {
    EXPECT_FALSE(parse_constant(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace remapfs::exchange
