// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <gtest/gtest.h>

#include <sstream>

#include "cli/table.hpp"
#include "unit/cli/test_world.hpp"

namespace remapfs::cli {
namespace {

TEST(Output, SizesForPeople) {
  const std::pair<std::uint64_t, const char*> sizes[] = {{0, "0"},
                                                         {1023, "1023"},
                                                         {1024, "1K"},
                                                         {1536, "1.5K"},
                                                         {4096, "4K"},
                                                         {1U << 20U, "1M"},
                                                         {(1U << 20U) + 1, "1.0M"},
                                                         {1610612736, "1.5G"},
                                                         {~std::uint64_t{0}, "16.0E"}};
  for (const auto& [bytes, text] : sizes) EXPECT_EQ(human_size(bytes), text) << bytes;
}

TEST(Output, ErrorsAreOneLineWhateverIsInThem) {
  testing::TestWorld test;
  EXPECT_EQ(report_error(test.world, "bad\nfile\tname\x01, here, do it\n", 7), 7);
  EXPECT_EQ(test.err.str(), "remapfs: bad file name , here, do it\n");
  EXPECT_EQ(test.out.str(), "");
}

TEST(Output, TablesAlignAndKeepEmptyCells) {
  Table table({{"A", true}, {"NAME"}, {"C"}}, true);
  table.add_row({"1", "", "x"});
  table.add_row({"100", "long name", "y"});
  EXPECT_EQ(table.render(), "  A NAME      C\n  1           x\n100 long name y\n");
}

TEST(Output, TableWithoutRowsStillHasItsHeadings) {
  EXPECT_EQ(Table({{"A"}, {"B"}}, true).render(), "A B\n");
  EXPECT_EQ(Table({{"A"}, {"B"}}, false).render(), "");
}

}  // namespace
}  // namespace remapfs::cli
