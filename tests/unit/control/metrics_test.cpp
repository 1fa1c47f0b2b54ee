// SPDX-License-Identifier: Apache-2.0
#include "control/metrics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "control/latency_report.hpp"
#include "control/status_report.hpp"

namespace remapfs {
namespace {

using Json = nlohmann::ordered_json;

StatusReport mounted() {
  StatusReport report;
  report.info.map_path = "/srv/d.remapfs";
  report.info.uuid = "11111111-2222-3333-4444-555555555555";
  report.info.label = "old \"disk\"\\\nx";
  report.info.size = ByteCount(1U << 30U);
  report.info.primary_path = "/dev/sdb";
  SpareInfo spare;
  spare.path = "/srv/spare";
  report.info.spares = {spare};
  report.mounted = true;
  report.mountpoint = "/mnt/d";
  report.volume.state = VolumeState::degraded;
  report.volume.reads = 7;
  report.volume.failures = {{0, {}}, {1, {}}};
  report.volume.failures[0].failures[0][0] = 3;
  LatencyCounts reads;
  for (const std::uint64_t ns : {9'000U, 11'000U, 45'000U}) {
    ++reads.buckets[LatencyCounts::bucket_of(ns)];
    reads.total_ns += ns;
  }
  reads.buckets.back() = 1;
  report.latencies = RequestLatencies{reads};
  report.scrub.record.state = ScrubState::finished;
  report.scrub.record.updated_at = "2026-11-28T00:00:00Z";
  return report;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool has(const std::string& text, const std::string& line) {
  for (const std::string& one : lines_of(text)) {
    if (one == line) return true;
  }
  return false;
}

const std::string kUuid = "volume=\"11111111-2222-3333-4444-555555555555\"";

TEST(Metrics, SayWhatTheStatusSays) {
  const Json status = to_json(mounted());
  const std::string text = render_metrics({&status, 1}, MetricsFormat::openmetrics);
  EXPECT_TRUE(
      has(text, "remapfs_volume_info{" + kUuid +
                    ",label=\"old \\\"disk\\\"\\\\\\nx\",mountpoint=\"/mnt/d\",map=\"/srv/d.remapfs\",engine=\"\"} 1"))
      << text;
  EXPECT_TRUE(has(text, "remapfs_state{" + kUuid + ",state=\"degraded\"} 1"));
  EXPECT_TRUE(has(text, "remapfs_state{" + kUuid + ",state=\"healthy\"} 0"));
  EXPECT_TRUE(has(text, "remapfs_requests_total{" + kUuid + ",op=\"read\"} 7"));
  EXPECT_TRUE(has(text, "remapfs_io_errors_total{" + kUuid +
                            ",device=\"/dev/sdb\",role=\"primary\",op=\"read\",class=\"media\"} 3"));
  EXPECT_TRUE(has(text, "remapfs_io_errors_total{" + kUuid +
                            ",device=\"/srv/spare\",role=\"spare\",op=\"sync\",class=\"gone\"} 0"));
  EXPECT_TRUE(has(text, "remapfs_scrub_finished_timestamp_seconds{" + kUuid + "} 1795824000"));
  EXPECT_EQ(lines_of(text).back(), "# EOF");
}

TEST(Metrics, BucketsAreCumulativeAndEndWithAll) {
  const Json status = to_json(mounted());
  const std::string text = render_metrics({&status, 1}, MetricsFormat::openmetrics);
  const auto bucket = [&](const std::string& le, int count) {
    return has(text, "remapfs_request_duration_seconds_bucket{" + kUuid + ",op=\"read\",le=\"" + le + "\"} " +
                         std::to_string(count));
  };
  EXPECT_TRUE(bucket("5e-06", 0) && bucket("1e-05", 1) && bucket("2e-05", 2) && bucket("5e-05", 3) &&
              bucket("9.0", 3) && bucket("+Inf", 4))
      << text;
  EXPECT_TRUE(has(text, "remapfs_request_duration_seconds_count{" + kUuid + ",op=\"read\"} 4"));
  EXPECT_TRUE(has(text, "remapfs_request_duration_seconds_sum{" + kUuid + ",op=\"read\"} 0.000065"));
}

TEST(Metrics, FamiliesAreInOnePieceWhateverTheirVolumes) {
  StatusReport other = mounted();
  other.info.uuid = "99999999-2222-3333-4444-555555555555";
  const std::vector<Json> both{to_json(mounted()), to_json(other)};
  for (const MetricsFormat format : {MetricsFormat::openmetrics, MetricsFormat::prometheus}) {
    std::string family;
    std::vector<std::string> seen;
    for (const std::string& line : lines_of(render_metrics(both, format))) {
      if (!line.starts_with("# TYPE ")) {
        EXPECT_TRUE(line.starts_with('#') || line.starts_with(family)) << line;
        continue;
      }
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_EQ(std::count(seen.begin(), seen.end(), family), 0) << family;
      seen.push_back(family);
    }
    EXPECT_GT(seen.size(), 15U);
  }
}

TEST(Metrics, TheOlderFormatNamesCountersAsTheirSamples) {
  const Json status = to_json(mounted());
  const std::string text = render_metrics({&status, 1}, MetricsFormat::prometheus);
  EXPECT_TRUE(has(text, "# TYPE remapfs_io_errors_total counter"));
  EXPECT_TRUE(has(text, "# TYPE remapfs_volume_info gauge"));
  EXPECT_EQ(text.find("# UNIT"), std::string::npos);
  EXPECT_EQ(text.find("# EOF"), std::string::npos);
}

TEST(Metrics, AVolumeThatIsNotMountedHasNoCounters) {
  StatusReport report = mounted();
  report.mounted = false;
  report.latencies.reset();
  report.volume.failures.clear();
  const Json status = to_json(report);
  const std::string text = render_metrics({&status, 1}, MetricsFormat::openmetrics);
  EXPECT_TRUE(has(text, "remapfs_mounted{" + kUuid + "} 0"));
  EXPECT_TRUE(has(text, "remapfs_remapped_blocks{" + kUuid + "} 0"));
  for (const char* counted : {"_total{", "_bucket{", "longest_seconds{"})
    EXPECT_EQ(text.find(counted), std::string::npos) << counted;
}

// Who reads them refuses all of them for one byte of a path.
TEST(Metrics, AreUtf8WhateverThePaths) {
  StatusReport report = mounted();
  report.info.map_path = "/srv/\xff.map";
  const Json status = to_json(report);
  const std::string text = render_metrics({&status, 1}, MetricsFormat::prometheus);
  EXPECT_NE(text.find("/srv/\xef\xbf\xbd.map"), std::string::npos);
  EXPECT_EQ(text.find('\xff'), std::string::npos);
}

TEST(Metrics, ADaemonOfAnOlderVersionLacksSome) {
  Json status = to_json(mounted());
  status.erase("latency");
  for (Json& device : status["devices"]) device.erase("failures");
  const std::string text = render_metrics({&status, 1}, MetricsFormat::openmetrics);
  EXPECT_TRUE(has(text, "remapfs_requests_total{" + kUuid + ",op=\"read\"} 7"));
  EXPECT_EQ(text.find("remapfs_io_errors_total{"), std::string::npos);
}

TEST(LatencyReport, ComesBackAsItWas) {
  const StatusReport report = mounted();
  const Json json = to_json(*report.latencies);
  ASSERT_EQ(json.size(), kRequestKinds);
  const LatencyCounts back = latency_counts(json["read"]);
  EXPECT_EQ(back.buckets, (*report.latencies)[0].buckets);
  EXPECT_EQ(back.total_ns, 65'000U);
  EXPECT_EQ(json["read"]["count"], 4);
  EXPECT_TRUE(json["read"]["buckets"].back()[0].is_null());
  EXPECT_EQ(latency_counts(Json::parse(R"({"buckets":[1,[2],["x",3],[10,-1],[20,5]]})")).count(), 5U);
}

}  // namespace
}  // namespace remapfs
