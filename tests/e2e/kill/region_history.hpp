// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "e2e/kill/sector_contents.hpp"

namespace remapfs::testing {

// Sectors [begin, end) of the virtual disk.
struct SectorRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  [[nodiscard]] std::uint64_t size() const { return end - begin; }
};

// What a region of a disk may hold: the memory of its only writer, outside of the disk. The oracle of crash tests.
//
// A sector holds what was acknowledged last, or what was attempted since without an acknowledgement. Once it has been
// read the choice is made: it must not change again by itself. An error is allowed only where a read fault was planted
// and no acknowledged write has come since.
// Threads: one at a time.
class RegionHistory {
 public:
  // Every sector holds generation 1, flushed.
  RegionHistory(std::uint64_t volume, std::uint64_t thread, SectorRange sectors);

  [[nodiscard]] SectorRange sectors() const { return sectors_; }
  // The contents of a sector in a generation.
  [[nodiscard]] SectorName name(std::uint64_t sector, std::uint64_t generation) const;

  // A write, or a zeroing, of the range begins; its generation.
  std::uint64_t begin_write(SectorRange range) { return begin_change(range, false); }
  std::uint64_t begin_zero(SectorRange range) { return begin_change(range, true); }
  // The change last begun was acknowledged for this range, which may be a part of its own.
  void acknowledge(SectorRange range);
  // A flush, begun after the last acknowledgement, succeeded.
  void note_flush() { flushed_ = acknowledged_; }

  // Reads of the sector may fail from now on.
  void plant_read_fault(std::uint64_t sector) { at(sector).may_fail = true; }

  // Judges what was read of a sector, and remembers it. What is wrong, or nothing.
  [[nodiscard]] std::optional<std::string> judge(std::uint64_t sector, ConstSectorBytes bytes);
  // The same for an error.
  [[nodiscard]] bool may_fail(std::uint64_t sector) const { return at(sector).may_fail; }
  [[nodiscard]] bool may_fail(SectorRange range) const;

 private:
  struct Version {
    std::uint64_t generation = 1;
    bool zeros = false;
  };
  struct Sector {
    Version sure;                // acknowledged last, or seen since
    std::vector<Version> later;  // attempted since
    bool may_fail = false;
  };

  [[nodiscard]] Sector& at(std::uint64_t sector) { return states_[sector - sectors_.begin]; }
  [[nodiscard]] const Sector& at(std::uint64_t sector) const { return states_[sector - sectors_.begin]; }
  std::uint64_t begin_change(SectorRange range, bool zeros);
  [[nodiscard]] std::string expectation(const Sector& state) const;

  std::uint64_t volume_;
  std::uint64_t thread_;
  SectorRange sectors_;
  std::vector<Sector> states_;
  std::uint64_t last_ = 1;          // generation begun last
  std::uint64_t acknowledged_ = 1;  // of those acknowledged, the highest
  std::uint64_t flushed_ = 1;       // every acknowledged generation up to it is durable
};

}  // namespace remapfs::testing
