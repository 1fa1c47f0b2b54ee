// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume.hpp"

namespace SQLite {
class Database;
class Statement;
}  // namespace SQLite

namespace remapfs::store {

// One row of `remaps` with what only people want to know.
struct ListedRow {
  RemapRow row;
  ByteOffset offset;  // of the block on the virtual disk
  std::string created_at;
  std::string updated_at;
};

// One row of `events`.
struct ListedEvent {
  std::int64_t id = 0;  // grows, never used twice
  std::string at;
  Event event;
};

// The event a statement stands on, whose columns are id, at, kind, block, detail. Throws what SQLiteCpp throws.
[[nodiscard]] ListedEvent read_event(SQLite::Statement& statement);

// The volume in numbers.
struct MapSummary {
  std::uint64_t remapped_blocks = 0;
  std::uint64_t lost_blocks = 0;
  std::uint64_t weak_blocks = 0;
  std::uint64_t lost_sectors = 0;  // inside the disk, of remapped blocks too
  std::uint64_t slots_total = 0;   // usable
  std::uint64_t slots_free = 0;
  std::uint64_t slots_retired = 0;
  std::vector<SpareStatus> spares;
};

// Entries that are there now, by when they appeared.
struct NewEntries {
  std::string hour;  // its begin, UTC
  std::uint64_t remapped = 0;
  std::uint64_t lost = 0;
  std::uint64_t weak = 0;
};

// How the map came to be as it is.
struct MapGrowth {
  std::string created_at;         // of the volume
  std::vector<NewEntries> hours;  // ascending, without those in which nothing came
};

// Reads a map that may or may not be mounted, from any process, without ever holding up its writer.
//
// Each call sees one state of the map. Between calls nothing is held open. Only when the map is in use, or was not
// closed in order, may SQLite make a -shm file beside it; a map at rest is not touched in any way.
// Errors: not_found, permission, foreign, too_new, corrupt, store; busy when the map changed hands during the call.
// Threads: any, a reader each.
class MapReader {
 public:
  // Checks that there is a map. path: of the map file.
  static Result<MapReader> open(const std::string& path);

  Result<VolumeInfo> info() const;
  Result<MapSummary> summary() const;
  // Entries that appeared at `since` (UTC, empty: ever) or later, but for those that are as old as the map: of a map
  // that was recovered nobody knows when they appeared. Cost: looks at every row.
  Result<MapGrowth> growth(const std::string& since) const;
  // What its drives said of themselves, oldest first.
  Result<std::vector<SmartReading>> smart() const;
  // The highest number that a spare has ever had.
  Result<SpareId> highest_spare() const;
  // The uuids of spares that have left.
  Result<std::vector<std::string>> former_spares() const;
  // Ascending by block. What visit() answers ends the iteration and is passed on.
  Result<void> for_each_row(const std::function<Result<void>(const ListedRow&)>& visit) const;
  Result<std::optional<ListedRow>> find_row(BlockIndex block) const;
  // Oldest first.
  Result<std::vector<ListedEvent>> newest_events(std::uint64_t count) const;
  Result<std::vector<ListedEvent>> events_after(std::int64_t id, std::uint64_t limit) const;

 private:
  explicit MapReader(std::string path) : path_(std::move(path)) {}

  template <class Body>
  auto with_database(Body&& body) const;

  std::string path_;
};

}  // namespace remapfs::store
