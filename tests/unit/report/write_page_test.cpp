// SPDX-License-Identifier: Apache-2.0
#include "report/write_page.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace remapfs::report {
namespace {

TEST(WritePage, DataIsTextWhateverItContains) {
  const nlohmann::ordered_json data{{"label", "</script><!--<script>\xFF"}, {"n", 1}};
  std::ostringstream out;
  write_page(data, out);
  const std::string page = out.str();
  const std::string begin = "<script type=\"application/json\" id=\"data\">\n";
  const std::size_t at = page.find(begin);
  ASSERT_NE(at, std::string::npos);
  const std::size_t end = page.find("</script>", at);
  const std::string text = page.substr(at + begin.size(), end - at - begin.size());
  EXPECT_EQ(text.find('<'), std::string::npos);
  const auto back = nlohmann::ordered_json::parse(text);
  EXPECT_EQ(back["label"], "</script><!--<script>\xEF\xBF\xBD");
  EXPECT_EQ(back["n"], 1);
}

TEST(WritePage, IsWholeAndLoadsNothing) {
  std::ostringstream out;
  write_page(nullptr, out);
  const std::string page = out.str();
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const char* left : {"@STYLE@", "@DATA@", "@SCRIPT@", "src=\"http", "href=\"http", "url(http", "@import"}) {
    EXPECT_EQ(page.find(left), std::string::npos) << left;
  }
  EXPECT_NE(page.find("</html>"), std::string::npos);
}

}  // namespace
}  // namespace remapfs::report
