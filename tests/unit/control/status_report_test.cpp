// SPDX-License-Identifier: Apache-2.0
#include "control/status_report.hpp"

#include <gtest/gtest.h>

namespace remapfs {
namespace {

StatusReport example() {
  StatusReport report;
  report.info.map_path = "/var/lib/d.remapfs";
  report.info.uuid = "11111111-2222-3333-4444-555555555555";
  report.info.block_size = 4096;
  report.info.size = ByteCount(1U << 30U);
  report.info.primary_path = "/dev/sdb";
  SpareInfo spare;
  spare.path = "/srv/spare";
  spare.uuid = "s";
  spare.slots = 100;
  spare.retired = {SlotIndex(4), SlotIndex(5)};
  report.info.spares = {spare};
  report.volume.state = VolumeState::degraded;
  report.volume.reasons = {"3 sectors are lost"};
  report.volume.lost_sectors = 3;
  report.volume.slots_total = 98;
  report.volume.slots_free = 90;
  report.volume.reads = 7;
  return report;
}

TEST(StatusReport, HasTheMembersThatScriptsRelyOn) {
  const auto status = to_json(example());
  const nlohmann::ordered_json fixed{
      {"json_format_version", 1},
      {"state", "degraded"},
      {"mounted", false},
      {"volume",
       {{"uuid", "11111111-2222-3333-4444-555555555555"},
        {"label", nullptr},
        {"size_bytes", 1U << 30U},
        {"block_size", 4096}}},
      {"remapped_blocks", 0},
      {"lost_sectors", 3},
      {"weak_blocks", 0},
      {"spare", {{"slots_total", 98}, {"slots_free", 90}}},
      {"io", {{"reads", 7}, {"writes", 0}, {"read_errors", 0}, {"write_errors", 0}, {"relocations", 0}}},
      {"engine", nullptr},
  };
  for (const auto& [key, value] : fixed.items()) {
    ASSERT_TRUE(status.contains(key)) << key;
    EXPECT_EQ(status[key], value) << key;
  }
  EXPECT_TRUE(status["json_format_version"].is_number_integer());
}

TEST(StatusReport, UnknownIsNullAndDevicesAreListed) {
  auto report = example();
  auto status = to_json(report);
  EXPECT_TRUE(status["mountpoint"].is_null());
  EXPECT_TRUE(status["daemon_pid"].is_null());
  ASSERT_EQ(status["devices"].size(), 2U);
  EXPECT_EQ(status["devices"][0]["role"], "primary");
  EXPECT_EQ(status["devices"][1]["slots_retired"], 2);

  report.mounted = true;
  report.mountpoint = "/mnt/d";
  report.engine = "blocking";
  report.info.label = "old disk";
  status = to_json(report);
  EXPECT_EQ(status["mountpoint"], "/mnt/d");
  EXPECT_EQ(status["engine"], "blocking");
  EXPECT_EQ(status["volume"]["label"], "old disk");
  EXPECT_EQ(status["mounted"], true);

  report.volume.commits = 5;
  report.volume.longest_commit = std::chrono::microseconds(1234567);
  status = to_json(report);
  EXPECT_EQ(status["commits"]["count"], 5);
  EXPECT_EQ(status["commits"]["longest_us"], 1234567);
}

TEST(StatusReport, EveryStateHasItsName) {
  StatusReport report;
  const std::pair<VolumeState, const char*> states[] = {{VolumeState::failed, "failed"},
                                                        {VolumeState::suspended, "suspended"},
                                                        {VolumeState::degraded, "degraded"},
                                                        {VolumeState::healthy, "healthy"}};
  for (const auto& [state, name] : states) {
    report.volume.state = state;
    EXPECT_EQ(to_json(report)["state"], name);
  }
}

TEST(StatusReport, OpenBreakerIsToldBesideAWorseState) {
  StatusReport report;
  report.volume.state = VolumeState::failed;
  EXPECT_EQ(to_json(report)["suspended"], false);
  report.volume.suspended = true;
  EXPECT_EQ(to_json(report)["suspended"], true);
  EXPECT_EQ(to_json(report)["state"], "failed");
}

}  // namespace
}  // namespace remapfs
