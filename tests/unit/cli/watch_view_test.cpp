// SPDX-License-Identifier: Apache-2.0
#include "cli/watch_view.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "control/status_report.hpp"
#include "unit/cli/times.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

// A mounted volume after so many reads of 150 us, one in a hundred of 3 ms.
StatusReport after(std::uint64_t reads) {
  StatusReport report;
  report.info.map_path = "/srv/d.remapfs";
  report.info.uuid = "11111111-2222-3333-4444-555555555555";
  report.info.label = "old\ndisk";
  report.info.size = ByteCount(1U << 30U);
  report.info.primary_path = "/dev/sdb";
  SpareInfo spare;
  spare.path = "/srv/spare";
  report.info.spares = {spare};
  report.mounted = true;
  report.mountpoint = "/mnt/d";
  report.engine = "io_uring";
  report.volume.state = VolumeState::degraded;
  report.volume.reasons = {"3 sectors are lost"};
  report.volume.slots_total = 1000;
  report.volume.slots_free = 999;
  report.volume.failures = {{0, {}}, {1, {}}};
  report.volume.failures[0].failures[0][0] = reads / 10;
  report.volume.read_errors = reads / 100;
  LatencyCounts counts;
  counts.buckets[LatencyCounts::bucket_of(150'000)] = reads - reads / 50;
  counts.buckets[LatencyCounts::bucket_of(3'000'000)] = reads / 50;
  report.latencies = RequestLatencies{counts};
  report.scrub.total_blocks = 1;
  return report;
}

std::string text_of_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(WatchView, ShowsRatesAndLatenciesOfTheLastSeconds) {
  WatchView view(false);
  const WatchView::Clock::time_point start{};
  // Long ago much more was slow.
  view.add(to_json(after(100'000)), start);
  view.add(to_json(after(100'000)), start + 30s);
  view.add(to_json(after(101'000)), start + 40s);
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_TRUE(contains(text, "  read           100     151 us     2.5 ms     3.0 ms            10        1010"))
      << text;
  EXPECT_TRUE(contains(text, "  write            0          -")) << text;
  EXPECT_TRUE(contains(text, "  primary      10100          0          0          0           100  /dev/sdb")) << text;
  EXPECT_TRUE(contains(text, "3 sectors are lost"));
  EXPECT_TRUE(contains(text, "[#---------------------------------------] 999 of 1000 slots free"))
      << "one slot is seen";
  EXPECT_TRUE(contains(text, "old disk")) << "on one line";
}

TEST(WatchView, AProcessThatWasReplacedCountsFromTheBeginning) {
  WatchView view(false);
  const WatchView::Clock::time_point start{};
  view.add(to_json(after(100'000)), start);
  view.add(to_json(after(500)), start + 10s);
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_TRUE(contains(text, "  read            50 ")) << text;
  EXPECT_TRUE(contains(text, "             5           5\n")) << text;
}

TEST(WatchView, AProcessThatDidMoreThanTheOneBeforeIsNotTakenForIt) {
  WatchView view(false);
  const WatchView::Clock::time_point start{};
  StatusReport before = after(0);
  LatencyCounts slow;
  slow.buckets[LatencyCounts::bucket_of(50'000'000)] = 100;
  before.latencies = RequestLatencies{slow};
  view.add(to_json(before), start);
  view.add(to_json(after(5000)), start + 10s);
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_TRUE(contains(text, "  read           500     151 us     2.5 ms     3.0 ms")) << text;
}

TEST(WatchView, ASpareThatLeftIsNotTakenForTheNext) {
  WatchView view(false);
  const WatchView::Clock::time_point start{};
  StatusReport two = after(0);
  SpareInfo second;
  second.id = 2;
  second.path = "/srv/second";
  two.info.spares.push_back(second);
  two.volume.failures = {{0, {}}, {1, {}}, {2, {}}};
  two.volume.failures[1].failures[0][0] = 1;
  two.volume.failures[2].failures[0][0] = 500;
  view.add(to_json(two), start);
  two.info.spares.erase(two.info.spares.begin());
  two.volume.failures.erase(two.volume.failures.begin() + 1);
  view.add(to_json(two), start + 10s);
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_TRUE(contains(text, "  spare          500          0          0          0             0  /srv/second"))
      << text;
}

TEST(WatchView, FitsOnAnyScreen) {
  WatchView view(false);
  view.add(to_json(after(100)), {});
  view.set_forecast("words");
  std::vector<store::ListedEvent> events(50);
  for (std::size_t i = 0; i < events.size(); ++i) {
    events[i].id = static_cast<std::int64_t>(i);
    events[i].event.kind = "relocated " + std::to_string(i);
    events[i].event.detail = "a\x1b[2Jb";
  }
  view.set_events(events);
  for (unsigned rows = 0; rows < 90; ++rows) {
    for (const unsigned columns : {1U, 20U, 80U, 300U}) {
      const auto lines = view.lines(columns, rows, kNowText);
      ASSERT_LE(lines.size(), std::max(rows, 1U)) << rows;
      ASSERT_TRUE(contains(lines.back(), "q ends this"));
    }
  }
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_TRUE(contains(text, "relocated 49: a")) << "the newest are kept: " << text;
  EXPECT_FALSE(contains(text, "\x1b")) << "text from outside draws nothing";
  EXPECT_FALSE(contains(text_of_lines(view.lines(100, 24, kNowText)), "relocated 0:"));
}

TEST(WatchView, UnmountedAndOlderDaemonsHaveLess) {
  WatchView view(true);
  StatusReport report = after(100);
  report.mounted = false;
  report.latencies.reset();
  report.volume.failures.clear();
  view.add(to_json(report), {});
  Json old = to_json(after(100));
  old.erase("latency");
  for (Json& device : old["devices"]) device.erase("failures");
  view.add(old, WatchView::Clock::time_point(2s));
  const std::string text = text_of_lines(view.lines(100, 40, kNowText));
  EXPECT_FALSE(contains(text, "p99"));
  EXPECT_TRUE(contains(text, "\x1b[1;33mdegraded\x1b[0m"));
  view.set_trouble("the daemon hangs");
  EXPECT_TRUE(contains(text_of_lines(view.lines(100, 40, kNowText)), "the daemon hangs"));
}

}  // namespace
}  // namespace remapfs::cli
