// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "control/status_report.hpp"
#include "remapfs/map_store.hpp"
#include "report/disk_regions.hpp"
#include "store/map_reader.hpp"

// Reading a map that may be mounted, unmounted or changing hands at this moment; a change of hands is waited out.
// Errors: those of store::MapReader, with a message.

namespace remapfs::cli {

[[nodiscard]] Result<VolumeInfo> read_map_info(const std::string& map_path);

// The highest number that a spare of the volume has ever had.
[[nodiscard]] Result<SpareId> highest_spare(const std::string& map_path);

// The uuids of spares that have left the volume.
[[nodiscard]] Result<std::vector<std::string>> former_spares(const std::string& map_path);

// Entries that appeared at `since` or later, by hour.
[[nodiscard]] Result<store::MapGrowth> read_growth(const std::string& map_path, const std::string& since);

// Where entries are and when they appeared.
[[nodiscard]] Result<report::DiskRegions> read_regions(const std::string& map_path);

[[nodiscard]] Result<std::vector<SmartReading>> read_smart(const std::string& map_path);

// One entry, compact: there may be millions.
struct MapRow {
  RemapRow row;
  std::array<char, 24> created_at{};  // ends with NUL
  std::array<char, 24> updated_at{};
};

// All entries of one moment, ascending by block. They are read at once and kept, so that whoever takes the output
// slowly does not hold a read transaction open, which would keep the log of a live map growing.
[[nodiscard]] Result<std::vector<MapRow>> read_rows(const std::string& map_path);

// The newest `count` events, oldest first.
[[nodiscard]] Result<std::vector<store::ListedEvent>> read_newest_events(const std::string& map_path,
                                                                         std::uint64_t count);
[[nodiscard]] Result<std::vector<store::ListedEvent>> read_events_after(const std::string& map_path, std::int64_t id,
                                                                        std::uint64_t limit);

// The status of a volume that is not mounted, as its map tells it.
[[nodiscard]] Result<StatusReport> status_from_map(const std::string& map_path);

}  // namespace remapfs::cli
