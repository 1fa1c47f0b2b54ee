// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"

namespace remapfs::report {

// Where on the disk entries are and when they appeared, in so few words that a page can carry them, however many there
// are. Threads: one. Cost: memory for twice kMostRegions, and 48 bytes for each hour in which an entry appeared.
class DiskRegions {
 public:
  static constexpr std::size_t kMostRegions = 20'000;
  static constexpr std::size_t kMostPoints = 400;

  DiskRegions(ByteCount size, std::uint64_t block_size) : size_(size), blocks_(block_size) {}

  // An entry with its times ("2026-11-28T05:55:00Z"); ascending by block.
  void add(const RemapRow& row, std::string_view created_at, std::string_view updated_at);

  // {"unit_blocks":1,"list":[[begin,end,remapped,lost sectors,weak,first,last,causes,lost],...]}: runs of neighbours of
  // the same state. When there are too many, all that touch the same stretch of unit_blocks are one region. Times are
  // seconds since 1970; `lost` counts blocks without a slot.
  [[nodiscard]] nlohmann::ordered_json regions() const;
  // [["2026-11-01T00:00:00Z",remapped,lost sectors,weak],...]: how many there were, of those that there are now.
  [[nodiscard]] nlohmann::ordered_json growth() const;

  struct Counts {
    std::uint64_t remapped = 0;
    std::uint64_t lost_sectors = 0;
    std::uint64_t weak = 0;
    std::uint64_t lost = 0;
  };

 private:
  using Time = std::array<char, 24>;  // as text, which sorts as they do
  struct Region {
    BlockRange blocks;
    EntryState state = EntryState::weak;
    Counts counts;
    std::uint32_t causes = 0;  // a bit each
    Time first{};
    Time last{};
  };
  [[nodiscard]] bool belongs(const Region& region, const Region& next) const;
  static void merge(Region& region, const Region& next);
  void coarsen();

  const ByteCount size_;
  const BlockGeometry blocks_;
  std::uint64_t unit_ = 1;
  std::vector<Region> regions_;
  std::map<std::string, Counts, std::less<>> hours_;  // by the begin of the hour
};

}  // namespace remapfs::report
