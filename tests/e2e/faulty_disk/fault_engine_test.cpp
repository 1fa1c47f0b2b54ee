// SPDX-License-Identifier: Apache-2.0
#include "fault_engine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

namespace faulty {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class FaultEngineTest : public testing::Test {
 protected:
  explicit FaultEngineTest(std::uint32_t cell_size = 512)
      : engine_(DiskShape(ByteCount(1000 * 512), cell_size), [this] { return now_; }) {}

  RuleId add(std::string_view text) {
    const auto rule = parse_rule(text, "/");
    EXPECT_TRUE(rule) << (rule ? "" : rule.error().message);
    const auto ids = engine_.add({*rule});
    EXPECT_TRUE(ids) << (ids ? "" : ids.error().message);
    return ids->at(0);
  }
  static ByteRange bytes(std::uint64_t begin, std::uint64_t end) { return {ByteOffset(begin), ByteOffset(end)}; }
  static ByteRange sectors(std::uint64_t begin, std::uint64_t end) { return bytes(begin * 512, end * 512); }
  int read(ByteRange range) { return engine_.plan_read(range).error; }
  // A whole write as the front end does it; returns the errno.
  int write(ByteRange range) {
    const AccessPlan plan = engine_.plan_write(range);
    engine_.stored(plan, plan.usable);
    return plan.error;
  }
  RuleCounts counts(RuleId id) {
    for (const RuleStatus& rule : engine_.list()) {
      if (rule.id == id) return rule.counts;
    }
    ADD_FAILURE() << "no rule " << id;
    return {};
  }

  nanoseconds now_{seconds(1000)};
  FaultEngine engine_;
};

class FourKFaultEngineTest : public FaultEngineTest {
 protected:
  FourKFaultEngineTest() : FaultEngineTest(4096) {}
};

TEST_F(FaultEngineTest, WithoutRulesEverythingWorks) {
  const AccessPlan plan = engine_.plan_read(sectors(0, 1000));
  EXPECT_EQ(plan.error, 0);
  EXPECT_EQ(plan.usable, sectors(0, 1000));
  EXPECT_EQ(write(sectors(0, 1000)), 0);
  EXPECT_EQ(engine_.plan_flush().error, 0);
}

TEST_F(FaultEngineTest, ReadTouchingOneBadByteFailsAsAWhole) {
  add("sectors=100-101,op=read");
  EXPECT_EQ(read(sectors(99, 100)), 0);
  EXPECT_EQ(read(sectors(102, 103)), 0);
  EXPECT_EQ(read(bytes(100 * 512 - 1, 100 * 512)), 0);
  EXPECT_EQ(read(bytes(100 * 512 - 1, 100 * 512 + 1)), EIO);
  EXPECT_EQ(read(bytes(102 * 512 - 1, 102 * 512 + 1)), EIO);
  EXPECT_EQ(read(bytes(102 * 512, 102 * 512 + 1)), 0);
  EXPECT_EQ(read(sectors(0, 1000)), EIO);
}

TEST_F(FaultEngineTest, ErrnoIsTheRules) {
  add("sectors=5,error=ENODATA");
  add("sectors=6,error=EREMOTEIO");
  EXPECT_EQ(read(sectors(5, 7)), ENODATA);
  EXPECT_EQ(read(sectors(6, 7)), EREMOTEIO);
}

TEST_F(FaultEngineTest, OfTwoRulesOnOneSectorTheOlderAnswers) {
  add("sectors=0-10,error=ENODATA");
  add("sectors=5,error=EIO");
  EXPECT_EQ(read(sectors(5, 6)), ENODATA);
}

TEST_F(FaultEngineTest, OpKeepsReadsAndWritesApart) {
  add("sectors=1,op=read");
  add("sectors=2,op=write");
  EXPECT_EQ(write(sectors(1, 2)), 0);
  EXPECT_EQ(read(sectors(1, 2)), EIO);
  EXPECT_EQ(read(sectors(2, 3)), 0);
  EXPECT_EQ(write(sectors(2, 3)), EIO);
}

TEST_F(FaultEngineTest, WriteStoresOnlyWhatPrecedesTheBadSector) {
  add("sectors=10-12,op=write");
  EXPECT_EQ(engine_.plan_write(sectors(8, 20)).usable, sectors(8, 10));
  EXPECT_TRUE(engine_.plan_write(sectors(10, 20)).usable.empty());
  EXPECT_TRUE(engine_.plan_write(bytes(10 * 512 + 3, 20 * 512)).usable.empty());
}

TEST_F(FaultEngineTest, PartialWriteReadsTheSectorFirst) {
  add("sectors=10-12,op=read");
  EXPECT_EQ(write(sectors(10, 13)), 0);
  EXPECT_EQ(write(bytes(10 * 512 + 1, 13 * 512)), EIO);
  EXPECT_EQ(write(bytes(10 * 512, 13 * 512 - 1)), EIO);
  EXPECT_EQ(write(bytes(11 * 512 + 5, 11 * 512 + 6)), EIO);
  // The middle of a large write is not read.
  EXPECT_EQ(write(bytes(9 * 512 + 1, 14 * 512 - 1)), 0);
}

TEST_F(FaultEngineTest, TimesCountsEachSectorByItself) {
  const RuleId id = add("sectors=10-11,op=read,mode=times:2");
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), 0);
  EXPECT_EQ(read(sectors(11, 12)), EIO);
  EXPECT_EQ(read(sectors(10, 12)), EIO);
  EXPECT_EQ(read(sectors(10, 12)), 0);
  EXPECT_EQ(counts(id).failed, 4U);
}

TEST_F(FaultEngineTest, SectorBehindAFailureIsNotAccessed) {
  add("sectors=10-11,op=read,mode=times:1");
  EXPECT_EQ(read(sectors(10, 12)), EIO);  // ends at 10
  EXPECT_EQ(read(sectors(10, 12)), EIO);  // ends at 11
  EXPECT_EQ(read(sectors(10, 12)), 0);
}

TEST_F(FaultEngineTest, BothCountsReadsAndWritesTogether) {
  add("sectors=10,mode=times:2");
  EXPECT_EQ(write(sectors(10, 11)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(write(sectors(10, 11)), 0);
  add("sectors=20,mode=times:2");
  EXPECT_EQ(write(bytes(20 * 512, 20 * 512 + 1)), EIO);  // one access, not a read and a write
  EXPECT_EQ(read(sectors(20, 21)), EIO);
  EXPECT_EQ(read(sectors(20, 21)), 0);
}

TEST_F(FaultEngineTest, UntilWrittenIsCuredByAWholeWriteOnly) {
  const RuleId id = add("sectors=10-12,mode=until-written");
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(write(bytes(10 * 512, 10 * 512 + 256)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(write(sectors(10, 11)), 0);
  EXPECT_EQ(read(sectors(10, 11)), 0);
  EXPECT_EQ(read(sectors(11, 12)), EIO);
  EXPECT_EQ(write(sectors(0, 1000)), 0);
  EXPECT_EQ(read(sectors(0, 1000)), 0);
  EXPECT_EQ(counts(id).cured, 3U);
}

TEST_F(FaultEngineTest, WritesFailUntilOneHasCoveredTheCell) {
  const RuleId id = add("sectors=10-12,op=both,mode=until-written");
  EXPECT_EQ(write(bytes(10 * 512, 10 * 512 + 256)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), EIO) << "a part does not cover it";
  EXPECT_EQ(write(sectors(10, 13)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), 0);
  EXPECT_EQ(read(sectors(11, 12)), EIO) << "the write ended at the first one";
  EXPECT_EQ(counts(id).cured, 1U);
  EXPECT_EQ(write(sectors(10, 11)), 0);
  EXPECT_EQ(write(sectors(10, 13)), EIO);
  EXPECT_EQ(write(sectors(10, 13)), EIO);
  EXPECT_EQ(write(sectors(10, 13)), 0);
  EXPECT_EQ(counts(id).cured, 3U);
}

TEST_F(FaultEngineTest, WriteCuresOnlyOnceTheDataIsStored) {
  add("sectors=10,mode=until-written");
  const AccessPlan plan = engine_.plan_write(sectors(10, 11));
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  engine_.stored(plan, bytes(10 * 512, 10 * 512));  // the image failed
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  engine_.stored(plan, plan.usable);
  EXPECT_EQ(read(sectors(10, 11)), 0);
}

TEST_F(FaultEngineTest, FailedWriteCuresOnlyThePartInFrontOfTheFailure) {
  add("sectors=10-20,mode=until-written");
  add("sectors=15,op=write");
  EXPECT_EQ(write(sectors(10, 21)), EIO);
  EXPECT_EQ(read(sectors(10, 15)), 0);
  EXPECT_EQ(read(sectors(15, 16)), EIO);
  EXPECT_EQ(read(sectors(16, 17)), EIO);
}

TEST_F(FaultEngineTest, WriteThatBeganBeforeTheRuleDoesNotCureIt) {
  const AccessPlan plan = engine_.plan_write(sectors(10, 11));
  add("sectors=10,mode=until-written");
  engine_.stored(plan, plan.usable);
  EXPECT_EQ(read(sectors(10, 11)), EIO);
}

TEST_F(FaultEngineTest, SectorThatGoesBadAfterAWriteIsBad) {
  add("grow=100-per-1,seed=4,mode=until-written");
  now_ += seconds(5);
  EXPECT_EQ(read(sectors(0, 1000)), EIO);
  EXPECT_EQ(write(sectors(0, 1000)), 0);
  EXPECT_EQ(read(sectors(0, 1000)), 0);
  now_ += seconds(1);
  EXPECT_EQ(read(sectors(0, 1000)), EIO);
}

TEST_F(FaultEngineTest, PercentUntilWrittenIsCuredByAWholeDiskWrite) {
  const RuleId id = add("percent=10,seed=4,mode=until-written");
  EXPECT_EQ(read(sectors(0, 1000)), EIO);
  EXPECT_EQ(write(sectors(0, 1000)), 0);
  EXPECT_EQ(read(sectors(0, 1000)), 0);
  EXPECT_EQ(counts(id).cured, 100U);
}

TEST_F(FaultEngineTest, SlowestRuleDelaysTheRequestOnce) {
  add("sectors=10,slow=50ms");
  const RuleId slowest = add("sectors=11-12,op=read,slow=80ms");
  const AccessPlan plan = engine_.plan_read(sectors(0, 100));
  EXPECT_EQ(plan.error, 0);
  EXPECT_EQ(plan.delay, milliseconds(80));
  EXPECT_EQ(counts(slowest).delayed, 1U);
  EXPECT_EQ(engine_.plan_write(sectors(0, 100)).delay, milliseconds(50));
  EXPECT_EQ(engine_.plan_read(sectors(13, 100)).delay, milliseconds(0));
}

TEST_F(FaultEngineTest, SlowSectorBehindAFailureDoesNotDelay) {
  add("sectors=10,error=EIO");
  add("sectors=20,slow=50ms");
  EXPECT_EQ(engine_.plan_read(sectors(0, 100)).delay, milliseconds(0));
  add("sectors=5,slow=7s,error=ENODATA");
  const AccessPlan plan = engine_.plan_read(sectors(0, 100));
  EXPECT_EQ(plan.error, ENODATA);
  EXPECT_EQ(plan.delay, seconds(7));
}

TEST_F(FaultEngineTest, RemovedRuleReleasesItsWaitingRequests) {
  const RuleId id = add("sectors=10,slow=50ms");
  const AccessPlan plan = engine_.plan_read(sectors(10, 11));
  EXPECT_FALSE(FaultEngine::released(plan));
  ASSERT_TRUE(engine_.remove({id}));
  EXPECT_TRUE(FaultEngine::released(plan));
}

TEST_F(FaultEngineTest, CorruptReadsAreWrongInTheSameWayEachTime) {
  const RuleId id = add("sectors=10,corrupt,seed=5");
  const auto content = [&](ByteRange range) {
    std::vector<std::byte> data(range.size().value(), std::byte{0x55});
    const AccessPlan plan = engine_.plan_read(range);
    EXPECT_EQ(plan.error, 0);
    engine_.corrupt(plan, range.begin, data);
    return data;
  };
  const auto whole = content(sectors(9, 12));
  const std::vector<std::byte> right(512, std::byte{0x55});
  EXPECT_TRUE(std::equal(right.begin(), right.end(), whole.begin()));
  EXPECT_FALSE(std::equal(right.begin(), right.end(), whole.begin() + 512));
  EXPECT_TRUE(std::equal(right.begin(), right.end(), whole.begin() + 1024));
  const auto odd = content(bytes(10 * 512 + 77, 10 * 512 + 300));
  EXPECT_TRUE(std::equal(odd.begin(), odd.end(), whole.begin() + 512 + 77));
  EXPECT_EQ(counts(id).corrupted, 2U);
}

TEST_F(FaultEngineTest, TwoCorruptRulesDoNotCancelOut) {
  add("sectors=10,corrupt,seed=5");
  add("sectors=0-20,corrupt,seed=5");
  std::vector<std::byte> data(512);
  engine_.corrupt(engine_.plan_read(sectors(10, 11)), ByteOffset(10 * 512), data);
  EXPECT_NE(data, std::vector<std::byte>(512));
}

TEST_F(FaultEngineTest, BitRotIsCuredByRewriting) {
  add("sectors=10,corrupt,mode=until-written");
  EXPECT_FALSE(engine_.plan_read(sectors(10, 11)).corrupt.empty());
  EXPECT_EQ(write(sectors(10, 11)), 0);
  EXPECT_TRUE(engine_.plan_read(sectors(10, 11)).corrupt.empty());
}

TEST_F(FaultEngineTest, PartialWriteDoesNotUseUpACorruptRule) {
  const RuleId id = add("sectors=10,corrupt,mode=times:1");
  EXPECT_EQ(write(bytes(10 * 512 + 1, 10 * 512 + 2)), 0);
  EXPECT_EQ(counts(id).corrupted, 0U);
  EXPECT_FALSE(engine_.plan_read(sectors(10, 11)).corrupt.empty());
}

TEST_F(FaultEngineTest, FlushRuleFailsFlushesOnly) {
  const RuleId id = add("op=flush,error=EIO,mode=times:1");
  EXPECT_EQ(read(sectors(0, 1)), 0);
  EXPECT_EQ(write(sectors(0, 1)), 0);
  EXPECT_EQ(engine_.plan_flush().error, EIO);
  EXPECT_EQ(engine_.plan_flush().error, 0);
  EXPECT_EQ(counts(id).failed, 1U);
}

TEST_F(FaultEngineTest, RuleWaitsForItsTime) {
  add("sectors=10,after=5s");
  EXPECT_EQ(read(sectors(10, 11)), 0);
  EXPECT_TRUE(engine_.list().at(0).waiting);
  now_ += seconds(5);
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_FALSE(engine_.list().at(0).waiting);
}

TEST_F(FaultEngineTest, GoneFailsEverythingUntilItIsBack) {
  const RuleId id = add("sectors=10,op=read,mode=times:1");
  engine_.set_gone(ENXIO);
  EXPECT_EQ(read(sectors(10, 11)), ENXIO);
  const AccessPlan plan = engine_.plan_write(sectors(0, 8));
  EXPECT_EQ(plan.error, ENXIO);
  EXPECT_TRUE(plan.usable.empty());
  EXPECT_EQ(engine_.plan_flush().error, ENXIO);
  engine_.set_gone(0);
  EXPECT_EQ(counts(id).failed, 0U);  // a disk that is not there accesses no sector
  EXPECT_EQ(read(sectors(10, 11)), EIO);
  EXPECT_EQ(read(sectors(10, 11)), 0);
}

TEST_F(FaultEngineTest, RulesAreSetAllOrNone) {
  const auto good = parse_rule("sectors=1", "/");
  const auto bad = parse_rule("sectors=1000", "/");
  ASSERT_TRUE(good && bad);
  EXPECT_FALSE(engine_.add({*good, *bad}));
  EXPECT_TRUE(engine_.list().empty());
  EXPECT_EQ(read(sectors(1, 2)), 0);
}

TEST_F(FaultEngineTest, RulesAreRemovedAllOrNone) {
  const RuleId id = add("sectors=1");
  const auto done = engine_.remove({id, 77});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("no rule 77"));
  EXPECT_EQ(read(sectors(1, 2)), EIO);
  ASSERT_TRUE(engine_.remove({id}));
  EXPECT_EQ(read(sectors(1, 2)), 0);
  add("sectors=1");
  EXPECT_EQ(engine_.remove_all(), 1U);
  EXPECT_EQ(read(sectors(1, 2)), 0);
}

TEST_F(FaultEngineTest, RemovedRuleSetAgainStartsAfresh) {
  const RuleId id = add("sectors=1,mode=times:1");
  EXPECT_EQ(read(sectors(1, 2)), EIO);
  ASSERT_TRUE(engine_.remove({id}));
  add("sectors=1,mode=times:1");
  EXPECT_EQ(read(sectors(1, 2)), EIO);
}

TEST_F(FourKFaultEngineTest, BadSectorTakesItsNeighboursAlong) {
  add("sectors=9,op=read");
  EXPECT_EQ(read(sectors(7, 8)), 0);
  EXPECT_EQ(read(sectors(8, 9)), EIO);
  EXPECT_EQ(read(sectors(15, 16)), EIO);
  EXPECT_EQ(read(sectors(16, 17)), 0);
}

TEST_F(FourKFaultEngineTest, OnlyAWholePhysicalSectorCures) {
  add("sectors=9,mode=until-written");
  EXPECT_EQ(write(sectors(9, 10)), EIO);
  EXPECT_EQ(write(sectors(8, 15)), EIO);
  EXPECT_EQ(write(sectors(8, 16)), 0);
  EXPECT_EQ(read(sectors(8, 16)), 0);
}

// 1000 sectors are 125 physical sectors; cut one sector off to make the last one partial.
TEST(PartialLastSector, IsCuredByAWriteUpToTheEnd) {
  FaultEngine engine(DiskShape(ByteCount(999 * 512), 4096), [] { return nanoseconds(0); });
  ASSERT_TRUE(engine.add({*parse_rule("sectors=998,mode=until-written", "/")}));
  const ByteRange tail{ByteOffset(992 * 512), ByteOffset(999 * 512)};
  EXPECT_EQ(engine.plan_read(tail).error, EIO);
  const AccessPlan plan = engine.plan_write(tail);
  EXPECT_EQ(plan.error, 0);
  engine.stored(plan, plan.usable);
  EXPECT_EQ(engine.plan_read(tail).error, 0);
}

// A million listed sectors and ten thousand rules: a scan of either for each request would take minutes.
TEST(ManyFaults, LookupsDoNotScan) {
  FaultEngine engine(DiskShape(ByteCount(std::uint64_t{1} << 40U), 512), [] { return nanoseconds(0); });
  std::vector<RuleSpec> rules;
  rules.push_back(*parse_rule("count=1000000,seed=1,op=read", "/"));
  for (int i = 0; i < 10'000; ++i) {
    rules.push_back(*parse_rule("sectors=" + std::to_string(i * 1000) + ",op=write", "/"));
  }
  ASSERT_TRUE(engine.add(rules));
  std::uint64_t failures = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    const ByteOffset at((i * 7919 * 4096) % (std::uint64_t{1} << 40U));
    failures += engine.plan_read({at, at + 65536}).error != 0 ? 1U : 0U;
    failures += engine.plan_write({at, at + 65536}).error != 0 ? 1U : 0U;
  }
  EXPECT_GT(failures, 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(20));
}

// Overwriting a whole terabyte disk with a bad percent must neither take long nor fill the memory.
TEST(ManyFaults, DiscardOfAWholeDiskIsBounded) {
  FaultEngine engine(DiskShape(ByteCount(std::uint64_t{1} << 40U), 4096), [] { return nanoseconds(0); });
  ASSERT_TRUE(engine.add({*parse_rule("percent=0.1,seed=1,mode=until-written", "/"),
                          *parse_rule("sectors=all,slow=1ms,op=write,mode=times:3", "/")}));
  const ByteRange disk{ByteOffset(0), engine.disk().end()};
  const AccessPlan plan = engine.plan_write(disk);
  EXPECT_EQ(plan.error, 0);
  EXPECT_EQ(engine.plan_read(disk).error, EIO);
  engine.stored(plan, plan.usable);
  EXPECT_EQ(engine.plan_read(disk).error, 0);
  EXPECT_EQ(engine.list().at(0).counts.cured, engine.list().at(0).selected_cells);
}

}  // namespace
}  // namespace faulty
