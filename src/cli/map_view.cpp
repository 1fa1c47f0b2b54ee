// SPDX-License-Identifier: Apache-2.0
#include "cli/map_view.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "control/scrub_report.hpp"

namespace remapfs::cli {
namespace {

// A mount or unmount during the read makes the reader answer busy; no map changes hands so often in a row.
constexpr int kTries = 50;
constexpr int kPauseMs = 20;

template <class Read>
auto with_map(const std::string& map_path, Read&& read) {
  for (int attempt = 1;; ++attempt) {
    auto answer = [&]() -> decltype(read(std::declval<const store::MapReader&>())) {
      const auto map = store::MapReader::open(map_path);
      if (!map) return fail(map.error());
      return read(*map);
    }();
    if (answer || answer.error().code != Errc::busy || attempt == kTries) return answer;
    ::poll(nullptr, 0, kPauseMs);
  }
}

std::array<char, 24> compact(const std::string& time) {
  std::array<char, 24> text{};
  time.copy(text.data(), text.size() - 1);
  return text;
}

}  // namespace

Result<SpareId> highest_spare(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) { return map.highest_spare(); });
}

Result<std::vector<std::string>> former_spares(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) { return map.former_spares(); });
}

Result<VolumeInfo> read_map_info(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) { return map.info(); });
}

Result<store::MapGrowth> read_growth(const std::string& map_path, const std::string& since) {
  return with_map(map_path, [&](const store::MapReader& map) { return map.growth(since); });
}

Result<report::DiskRegions> read_regions(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) -> Result<report::DiskRegions> {
    const auto info = map.info();
    if (!info) return fail(info.error());
    report::DiskRegions regions(info->size, info->block_size);
    auto read = map.for_each_row([&](const store::ListedRow& row) -> Result<void> {
      regions.add(row.row, row.created_at, row.updated_at);
      return {};
    });
    if (!read) return fail(read.error());
    return regions;
  });
}

Result<std::vector<SmartReading>> read_smart(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) { return map.smart(); });
}

Result<std::vector<MapRow>> read_rows(const std::string& map_path) {
  return with_map(map_path, [](const store::MapReader& map) -> Result<std::vector<MapRow>> {
    std::vector<MapRow> rows;
    auto read = map.for_each_row([&](const store::ListedRow& row) -> Result<void> {
      rows.push_back({row.row, compact(row.created_at), compact(row.updated_at)});
      return {};
    });
    if (!read) return fail(read.error());
    return rows;
  });
}

Result<std::vector<store::ListedEvent>> read_newest_events(const std::string& map_path, std::uint64_t count) {
  return with_map(map_path, [&](const store::MapReader& map) { return map.newest_events(count); });
}

Result<std::vector<store::ListedEvent>> read_events_after(const std::string& map_path, std::int64_t id,
                                                          std::uint64_t limit) {
  return with_map(map_path, [&](const store::MapReader& map) { return map.events_after(id, limit); });
}

Result<StatusReport> status_from_map(const std::string& map_path) {
  auto info = read_map_info(map_path);
  if (!info) return fail(info.error());
  const auto summary = with_map(map_path, [](const store::MapReader& map) { return map.summary(); });
  if (!summary) return fail(summary.error());

  StatusReport report;
  report.info = std::move(*info);
  report.scrub = scrub_at_rest(report.info);
  VolumeStatus& volume = report.volume;
  volume.remapped_blocks = summary->remapped_blocks;
  volume.lost_sectors = summary->lost_sectors;
  volume.weak_blocks = summary->weak_blocks;
  volume.slots_total = summary->slots_total;
  volume.slots_free = summary->slots_free;
  volume.spares = summary->spares;
  const auto degraded = [&](std::string reason) {
    volume.state = VolumeState::degraded;
    volume.reasons.push_back(std::move(reason));
  };
  for (SpareInfo& spare : report.info.spares) {
    spare.missing = ::access(spare.path.c_str(), F_OK) != 0;
    if (spare.missing) degraded(fmt::format("spare {} is missing, {}", spare.id, spare.path));
  }
  if (volume.slots_free == 0) degraded("no free slot is left");
  if (volume.lost_sectors != 0) degraded(fmt::format("{} sectors are lost", volume.lost_sectors));
  if (volume.weak_blocks != 0) degraded(fmt::format("{} blocks are weak", volume.weak_blocks));
  return report;
}

}  // namespace remapfs::cli
