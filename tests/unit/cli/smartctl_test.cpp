// SPDX-License-Identifier: Apache-2.0
#include "cli/smartctl.hpp"

#include <gtest/gtest.h>

#include <string>

#include "cli/drive_verdict.hpp"
#include "core/utc.hpp"
#include "unit/cli/times.hpp"

namespace remapfs::cli {
namespace {

// What smartctl prints of a disk of the old kind, with these counters.
std::string ata(unsigned reallocated, unsigned pending, unsigned uncorrectable, bool passed = true,
                const std::string& when_failed = "") {
  const auto attribute = [](unsigned id, const char* name, unsigned raw, const std::string& failed) {
    return R"({"id":)" + std::to_string(id) + R"(,"name":")" + name + R"(","value":100,"when_failed":")" + failed +
           R"(","raw":{"value":)" + std::to_string(raw) + R"(,"string":")" + std::to_string(raw) + R"("}})";
  };
  return R"({"json_format_version":[1,0],"smartctl":{"version":[7,3],"exit_status":0},
    "device":{"name":"/dev/sda","type":"sat","protocol":"ATA"},"model_name":"WDC WD40EFRX-68WT0N0",
    "serial_number":"WD-WCC4E0XXXXXX","rotation_rate":5400,"smart_status":{"passed":)" +
         std::string(passed ? "true" : "false") + R"(},"temperature":{"current":34},"power_on_time":{"hours":41234},
    "ata_smart_attributes":{"revision":16,"table":[)" +
         attribute(5, "Reallocated_Sector_Ct", reallocated, when_failed) + "," +
         attribute(187, "Reported_Uncorrect", uncorrectable, "") + "," +
         attribute(197, "Current_Pending_Sector", pending, "past") +
         R"(]},"ata_sct_erc":{"read":{"enabled":true,"deciseconds":70},"write":{"enabled":true,"deciseconds":70}}})";
}

SmartReading reading(std::int64_t days_ago, std::uint64_t reallocated, std::uint64_t uncorrectable = 0) {
  SmartReading one;
  one.at = utc_text(kNow - days_ago * kDay);
  one.reallocated = reallocated;
  one.uncorrectable = uncorrectable;
  return one;
}

DriveJudgement judge(const std::string& text, const std::vector<SmartReading>& history = {},
                     const OwnEvidence& own = {}) {
  return judge_drive(*parse_smartctl(text), history, own, kNow);
}

TEST(Smartctl, ReadsWhatADiskSays) {
  const auto health = parse_smartctl(ata(8, 3, 2));
  ASSERT_TRUE(health);
  EXPECT_EQ(health->reading.drive, "WDC WD40EFRX-68WT0N0 WD-WCC4E0XXXXXX");
  EXPECT_EQ(health->reading.passed, true);
  EXPECT_EQ(health->reading.reallocated, 8U);
  EXPECT_EQ(health->reading.pending, 3U);
  EXPECT_EQ(health->reading.uncorrectable, 2U);
  EXPECT_EQ(health->reading.temperature, 34);
  EXPECT_EQ(health->reading.power_on_hours, 41234U);
  EXPECT_TRUE(health->failing.empty()) << "one that failed once and recovered does not fail now";
  EXPECT_TRUE(health->trouble.empty());
  EXPECT_TRUE(health->recovery.is_disk && health->recovery.known);
  EXPECT_EQ(health->recovery.read_deciseconds, 70U);
}

TEST(Smartctl, ReadsNvmeAndScsi) {
  const auto nvme = parse_smartctl(R"({"model_name":"X","smart_status":{"passed":true},"rotation_rate":0,
    "device":{"protocol":"NVMe"},"nvme_smart_health_information_log":{"critical_warning":4,"available_spare":5,
    "available_spare_threshold":10,"percentage_used":103,"media_errors":7}})");
  ASSERT_TRUE(nvme);
  EXPECT_EQ(nvme->critical_warning, 4U);
  EXPECT_TRUE(nvme->spare_exhausted);
  EXPECT_EQ(nvme->reading.wear_percent, 103U);
  EXPECT_EQ(nvme->reading.uncorrectable, 7U);
  EXPECT_FALSE(nvme->recovery.is_disk);
  const auto scsi = parse_smartctl(R"({"model_name":"Y","scsi_grown_defect_list":12,"scsi_error_counter_log":
    {"read":{"total_uncorrected_errors":2},"write":{"total_uncorrected_errors":1}}})");
  ASSERT_TRUE(scsi);
  EXPECT_EQ(scsi->reading.reallocated, 12U);
  EXPECT_EQ(scsi->reading.uncorrectable, 3U);
}

TEST(Smartctl, TakesTheCountOutOfARawValueThatHoldsMore) {
  const auto health = parse_smartctl(R"x({"ata_smart_attributes":{"table":[
    {"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":8589934592003,"string":"3 (2000 0)"
}
},
    {"id":197,"name":"Current_Pending_Sector","raw":{"value":7,"string":"?"}}]
}
})x");
  ASSERT_TRUE(health);
  EXPECT_EQ(health->reading.reallocated, 3U);
  EXPECT_EQ(health->reading.pending, 7U);
}

TEST(Smartctl, SaysWhyADriveTellsNothing) {
  const auto refused = parse_smartctl(
      R"({"smartctl":{"exit_status":2,"messages":[{"string":"Smartctl open device: /dev/sda\nfailed: Permission denied","severity":"error"}]}})");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->trouble, "Smartctl open device: /dev/sda failed: Permission denied");
  EXPECT_FALSE(parse_smartctl("{}")->trouble.empty());
  for (const char* wrong : {"", "smartctl 6.6", "[1]", "{", "null", "17"}) {
    EXPECT_EQ(parse_smartctl(wrong).error().code, Errc::invalid) << wrong;
  }
  // Members of other kinds than expected are as unknown as those that are missing.
  const auto odd =
      parse_smartctl(R"({"model_name":7,"smart_status":{"passed":"yes"},"temperature":[],"ata_smart_attributes":
    {"table":[1,{"id":"5"},{"id":5},{"id":197,"raw":{"value":-4}},{"id":187,"raw":{"value":1.5}}]}})");
  ASSERT_TRUE(odd);
  EXPECT_FALSE(odd->reading.reallocated || odd->reading.pending || odd->reading.uncorrectable);
}

TEST(DriveVerdict, IsFineWithoutABadSector) {
  const auto judgement = judge(ata(0, 0, 0));
  EXPECT_EQ(judgement.verdict, DriveVerdict::fine);
  ASSERT_EQ(judgement.reasons.size(), 1U);
}

TEST(DriveVerdict, BelievesADriveThatSaysItFails) {
  EXPECT_EQ(judge(ata(0, 0, 0, false)).verdict, DriveVerdict::replace_now);
  const auto attribute = judge(ata(0, 0, 0, true, "now"));
  EXPECT_EQ(attribute.verdict, DriveVerdict::replace_now);
  EXPECT_EQ(attribute.reasons[0], "Reallocated_Sector_Ct is below its threshold");
  EXPECT_EQ(
      judge(R"({"smart_status":{"passed":true},"nvme_smart_health_information_log":{"critical_warning":1}})").verdict,
      DriveVerdict::replace_now);
}

TEST(DriveVerdict, AnySectorIsReasonToReplaceSoon) {
  EXPECT_EQ(judge(ata(1, 0, 0)).verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(judge(ata(0, 1, 0)).verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(judge(ata(0, 0, 1)).verdict, DriveVerdict::replace_soon);
}

TEST(DriveVerdict, LooksAtTheCourse) {
  // Long ago, and none since: a bad spot that was dealt with.
  EXPECT_EQ(judge(ata(8, 0, 0), {reading(300, 8), reading(1, 8)}).verdict, DriveVerdict::fine);
  EXPECT_EQ(judge(ata(8, 0, 2), {reading(300, 8, 2), reading(1, 8, 2)}).verdict, DriveVerdict::fine);
  // Not known for long enough.
  EXPECT_EQ(judge(ata(8, 0, 0), {reading(20, 8)}).verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(judge(ata(9, 0, 0), {reading(300, 8), reading(30, 8)}).verdict, DriveVerdict::replace_soon);
  const auto fast = judge(ata(90, 0, 0), {reading(300, 8), reading(8, 30), reading(3, 60)});
  EXPECT_EQ(fast.verdict, DriveVerdict::replace_now);
  EXPECT_EQ(fast.reasons[0], "60 sectors were replaced since 2026-11-20, 90 in all");
  // As many in a month are no reason for haste.
  EXPECT_EQ(judge(ata(60, 0, 0), {reading(300, 0)}).verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(judge(ata(60, 0, 0), {reading(0, 0)}).verdict, DriveVerdict::replace_now);
  // What an earlier reading did not know is not known to be old.
  SmartReading without = reading(300, 0);
  without.reallocated.reset();
  EXPECT_EQ(judge(ata(8, 0, 0), {without, reading(1, 8)}).verdict, DriveVerdict::replace_soon);
}

TEST(DriveVerdict, CountsWhatRemapfsHasSeen) {
  EXPECT_EQ(judge(ata(0, 0, 0), {}, {3, 0}).verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(judge(ata(0, 0, 0), {}, {500, 0}).verdict, DriveVerdict::replace_now);
  EXPECT_EQ(judge(ata(0, 0, 0), {}, {0, 1}).verdict, DriveVerdict::replace_soon);
  // A drive behind a bridge that tells nothing.
  const auto silent = judge("{}", {}, {3, 0});
  EXPECT_EQ(silent.verdict, DriveVerdict::replace_soon);
  EXPECT_EQ(silent.reasons.size(), 2U);
  EXPECT_EQ(judge("{}").verdict, DriveVerdict::unknown);
}

TEST(RecoveryWarning, ComesWhenTheKernelGivesUpFirst) {
  ErrorRecovery recovery{true, true, 70, 70};
  EXPECT_FALSE(recovery_warning(recovery, "/dev/sda", 30));
  EXPECT_FALSE(recovery_warning(recovery, "/dev/sda", std::nullopt));
  EXPECT_TRUE(recovery_warning(recovery, "/dev/sda", 7));
  recovery.read_deciseconds.reset();
  const auto off = recovery_warning(recovery, "/dev/sda", 30);
  ASSERT_TRUE(off);
  EXPECT_NE(off->find("is off"), std::string::npos);
  EXPECT_NE(off->find("smartctl -l scterc,70,70 /dev/sda"), std::string::npos);
  EXPECT_NE(off->find("/sys/block/sda/device/timeout"), std::string::npos);
  recovery.known = false;
  EXPECT_TRUE(recovery_warning(recovery, "/dev/sda", 30));
  recovery.is_disk = false;
  EXPECT_FALSE(recovery_warning(recovery, "/dev/sda", 30)) << "flash memory has no such setting";
}

}  // namespace
}  // namespace remapfs::cli
