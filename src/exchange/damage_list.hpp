// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::exchange {

// What is known of a place, worse last.
enum class Damage : std::uint8_t { weak, lost };

// A stretch of the disk, half open, in sectors.
struct DamagedRun {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  Damage damage = Damage::weak;

  friend bool operator==(const DamagedRun&, const DamagedRun&) = default;
};

// Damaged places of one disk, as they come in from a list of whatever order and unit; given out in order, without
// overlaps, each as long as it can be. Where places overlap the worse is right.
//
// Units: bytes come in, sectors go out; a sector that is touched is damaged.
// Memory: 24 bytes for each separate stretch, while they come out of order for at most two times as many as there may
// be.
class DamageList {
 public:
  static constexpr std::size_t kMostRuns = std::size_t{1} << 24U;

  // disk_size: a multiple of the sector. most_runs: separate stretches that there may be.
  explicit DamageList(ByteCount disk_size, std::size_t most_runs = kMostRuns)
      : disk_(disk_size.value()), most_runs_(most_runs) {}

  // Adds [begin, end), cut at the end of the disk. `line`: where the list says so.
  // Errors: no_memory, when there are more separate places than fit.
  Result<void> add(std::uint64_t begin, std::uint64_t end, Damage damage, std::uint64_t line = 0);

  // In order. Cost: sorts when the places did not come in order.
  [[nodiscard]] const std::vector<DamagedRun>& runs();

  // Places that were not (all) inside the disk, and where the first of them was listed.
  struct Outside {
    std::uint64_t whole = 0;
    std::uint64_t in_part = 0;
    std::uint64_t first_line = 0;
  };
  [[nodiscard]] const Outside& outside() const { return outside_; }
  // Places that were added, outside ones too.
  [[nodiscard]] std::uint64_t places() const { return places_; }
  [[nodiscard]] ByteCount disk_size() const { return ByteCount(disk_); }

 private:
  void put_in_order();

  std::uint64_t disk_;
  std::size_t most_runs_;
  std::vector<DamagedRun> runs_;
  bool in_order_ = true;
  std::uint64_t places_ = 0;
  Outside outside_;
};

// What the runs say of each block: a block with lost sectors is lost, with just these, another one is weak.
// Ascending; neighbours of which the same is said are joined.
[[nodiscard]] std::vector<ImportRun> by_block(std::span<const DamagedRun> runs, const BlockGeometry& geometry);

// Adds what a row says of the primary: its lost sectors, or all of a weak block. also_remapped: and all of a remapped
// block, whose place on the primary is not used.
Result<void> add_row(DamageList& list, const RemapRow& row, const BlockGeometry& geometry, bool also_remapped);

}  // namespace remapfs::exchange
