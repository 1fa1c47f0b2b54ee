// SPDX-License-Identifier: Apache-2.0
#include "rule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace faulty {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

RuleSpec parsed(std::string_view text) {
  const Result<RuleSpec> rule = parse_rule(text, "/base");
  EXPECT_TRUE(rule) << (rule ? "" : rule.error().message);
  return rule ? *rule : RuleSpec{};
}

std::string refusal(std::string_view text) {
  const Result<RuleSpec> rule = parse_rule(text, "/base");
  EXPECT_FALSE(rule) << text;
  return rule ? "" : rule.error().message;
}

TEST(Rule, RangeIncludesBothEnds) {
  const RuleSpec rule = parsed("sectors=1000-1010+0x20");
  ASSERT_EQ(rule.selection.sectors.size(), 2U);
  EXPECT_EQ(rule.selection.sectors[0], (SectorRange{SectorIndex(1000), SectorIndex(1011)}));
  EXPECT_EQ(rule.selection.sectors[1], (SectorRange{SectorIndex(32), SectorIndex(33)}));
}

TEST(Rule, WithoutEffectMeansStickyEioOnBoth) {
  const RuleSpec rule = parsed("sectors=1");
  EXPECT_EQ(rule.error, EIO);
  EXPECT_EQ(rule.op, RuleOp::both);
  EXPECT_EQ(rule.mode, RuleMode::sticky);
}

TEST(Rule, SlowAloneDoesNotFail) {
  const RuleSpec rule = parsed("sectors=all,slow=50ms");
  EXPECT_EQ(rule.error, std::nullopt);
  EXPECT_EQ(rule.slow, milliseconds(50));
}

TEST(Rule, SlowWithErrorDoesBoth) {
  const RuleSpec rule = parsed("sectors=1,slow=7s,error=ENODATA");
  EXPECT_EQ(rule.error, ENODATA);
  EXPECT_EQ(rule.slow, seconds(7));
}

TEST(Rule, UntilWrittenAndCorruptAreAboutReadsUnlessTold) {
  EXPECT_EQ(parsed("sectors=1,mode=until-written").op, RuleOp::read);
  EXPECT_EQ(parsed("sectors=1,mode=until-written,op=both").op, RuleOp::both);
  EXPECT_EQ(parsed("sectors=1,corrupt").op, RuleOp::read);
  EXPECT_THAT(refusal("op=flush,mode=until-written"), HasSubstr("a flush writes no sector"));
  EXPECT_THAT(refusal("sectors=1,corrupt,op=write"), HasSubstr("corrupt is about reads"));
}

TEST(Rule, RelativeListFileIsTakenFromTheBase) {
  EXPECT_EQ(parsed("list=bad.txt").selection.list_file, "/base/bad.txt");
  EXPECT_EQ(parsed("list=/else/bad.txt").selection.list_file, "/else/bad.txt");
}

TEST(Rule, TextIsParsedBackToTheSameRule) {
  for (const char* text :
       {"sectors=1000-1010+7,op=read,error=EIO,mode=times:3", "sectors=all,op=both,slow=50ms",
        "list=/a/b,op=write,error=ENOSPC,after=10s", "count=12,seed=7,within=100-199,op=read,corrupt,slow=1500us",
        "percent=0.015,seed=1,op=read,error=EIO,mode=until-written", "percent=1e-07,seed=1,op=both,error=EIO",
        "grow=5-per-1500ms,seed=3,within=8-800,limit=40,op=both,error=EIO", "op=flush,error=EIO,mode=times:1",
        "sectors=3,op=both,error=EREMOTEIO,slow=0.5us"}) {
    EXPECT_EQ(to_text(parsed(text)), text);
  }
}

TEST(Rule, NonsenseIsRefusedWithItsReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no place"},
      {"op=read", "no place"},
      {"sectors=5-4", "ends before it starts"},
      {"sectors=1-", "not a sector"},
      {"sectors=-1", "not a sector"},
      {"sectors=1++2", "not a sector"},
      {"sectors=18014398509481984", "beyond any disk"},
      {"sectors=1,sectors=2", "given twice"},
      {"sectors=1,count=2", "second rule"},
      {"sectors=1,colour=red", "unknown setting 'colour'"},
      {"sectors=1,,op=read", "empty setting"},
      {"sectors=1,op=", "op needs a value"},
      {"sectors=1,op=erase", "op 'erase'"},
      {"sectors=1,error=EWHAT", "'EWHAT'"},
      {"sectors=1,error=ENOSYS", "ENOSYS would switch"},
      {"sectors=1,error=0", "'0'"},
      {"sectors=1,mode=times:0", "above 0"},
      {"sectors=1,mode=times:4294967296", "above 0"},
      {"sectors=1,mode=often", "mode 'often'"},
      {"sectors=1,slow=50", "needs a unit"},
      {"sectors=1,slow=0ms", "above 0"},
      {"sectors=1,slow=-5ms", "not a duration"},
      {"sectors=1,slow=1e30s", "longer than a year"},
      {"sectors=1,corrupt,error=EIO", "exclude each other"},
      {"sectors=1,corrupt=yes", "takes no value"},
      {"count=0", "above 0"},
      {"percent=0", "percent '0'"},
      {"percent=101", "percent '101'"},
      {"percent=nan", "percent 'nan'"},
      {"grow=5", "not N-per-SECONDS"},
      {"grow=0-per-1", "above 0"},
      {"grow=1-per-0", "above 0"},
      {"count=5,limit=2", "limit goes with grow"},
      {"sectors=1,within=1-5", "within goes with"},
      {"op=flush,sectors=1", "a flush has no place"},
  };
  for (const auto& [text, reason] : cases) EXPECT_THAT(refusal(text), HasSubstr(reason)) << text;
}

class RuleFiles : public testing::Test {
 protected:
  RuleFiles() {
    char name[] = "/tmp/faulty-rules-XXXXXX";
    const int fd = ::mkstemp(name);
    ::close(fd);
    path_ = name;
  }
  ~RuleFiles() override { ::unlink(path_.c_str()); }
  void write(std::string_view text) const { std::ofstream(path_) << text; }
  std::string path_;
};

TEST_F(RuleFiles, CommentsAndBlankLinesAreSkipped) {
  write("# bad\n\n  sectors=1  # one\nsectors=2\r\n\tsectors=3");
  const auto rules = read_rule_file(path_);
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ(rules->size(), 3U);
}

TEST_F(RuleFiles, ErrorNamesTheLine) {
  write("sectors=1\n\nsectors=x\n");
  const auto rules = read_rule_file(path_);
  ASSERT_FALSE(rules);
  EXPECT_THAT(rules.error().message, HasSubstr("line 3 of " + path_));
}

TEST_F(RuleFiles, ListOfSectorsTakesNumbersAndRanges) {
  write("7\n10-12\n# end\n");
  const auto sectors = read_sector_list(path_);
  ASSERT_TRUE(sectors);
  ASSERT_EQ(sectors->size(), 2U);
  EXPECT_EQ((*sectors)[1], (SectorRange{SectorIndex(10), SectorIndex(13)}));
}

TEST_F(RuleFiles, MissingAndUnreadableListsAreErrors) {
  const auto missing = read_sector_list(path_ + ".missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  EXPECT_FALSE(read_sector_list("/tmp"));  // opens, but reading a directory fails
}

}  // namespace
}  // namespace faulty
