// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>

#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"

// The volume as a table for the kernel's device mapper, https://docs.kernel.org/admin-guide/device-mapper/: each line
// START LENGTH linear DEVICE OFFSET, or START LENGTH error, all numbers in sectors, in order and without gaps.

namespace remapfs::exchange {

// Collects what lies where, from the beginning of the disk to its end, and writes a line for each stretch that goes on
// in the same way.
class DmTable {
 public:
  // devices: how the primary (0) and each spare is called in the table, without blanks.
  // logical_block: the largest of the members; the kernel takes no boundary off that grid, so what a lost sector shares
  // such a block with answers with an error as well.
  DmTable(std::ostream& out, const VolumeInfo& info, std::map<SpareId, std::string> devices,
          std::uint32_t logical_block);

  // Rows in ascending order.
  void add(const RemapRow& row);
  // The rest of the disk.
  void finish();

  struct Figures {
    std::uint64_t lines = 0;
    std::uint64_t error_sectors = 0;
    std::uint64_t widened_sectors = 0;  // of these, valid ones
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  struct Stretch {
    std::uint64_t begin = 0;  // sectors of the disk
    std::uint64_t end = 0;
    bool readable = true;
    SpareId member = 0;
    std::uint64_t at = 0;  // sector of the member
  };

  void put(const Stretch& stretch);
  void write();

  std::ostream& out_;
  const VolumeInfo& info_;
  const std::map<SpareId, std::string> devices_;
  const BlockGeometry geometry_;
  const SectorMask grid_;  // as many sectors as a logical block has
  const std::uint64_t disk_sectors_;
  std::uint64_t next_ = 0;  // first sector that nothing was said of
  Stretch open_;
  Figures figures_;
};

}  // namespace remapfs::exchange
