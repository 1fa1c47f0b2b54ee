// SPDX-License-Identifier: Apache-2.0
#include "exchange/dm_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <ostream>

namespace remapfs::exchange {

DmTable::DmTable(std::ostream& out, const VolumeInfo& info, std::map<SpareId, std::string> devices,
                 std::uint32_t logical_block)
    : out_(out),
      info_(info),
      devices_(std::move(devices)),
      geometry_(info.block_size),
      grid_(BlockGeometry::mask_of(0, std::max<std::uint64_t>(logical_block / kSectorSize, 1))),
      disk_sectors_(info.size.value() / kSectorSize) {}

void DmTable::put(const Stretch& stretch) {
  if (stretch.begin == stretch.end) return;
  const bool same =
      open_.end == stretch.begin && open_.begin != open_.end && open_.readable == stretch.readable &&
      (!stretch.readable || (open_.member == stretch.member && open_.at + (open_.end - open_.begin) == stretch.at));
  if (!same) {
    write();
    open_ = stretch;
  }
  open_.end = stretch.end;
}

void DmTable::write() {
  if (open_.begin == open_.end) return;
  ++figures_.lines;
  const std::uint64_t length = open_.end - open_.begin;
  if (open_.readable) {
    out_ << fmt::format("{} {} linear {} {}\n", open_.begin, length, devices_.at(open_.member), open_.at);
  } else {
    figures_.error_sectors += length;
    out_ << fmt::format("{} {} error\n", open_.begin, length);
  }
}

void DmTable::add(const RemapRow& row) {
  const std::uint64_t begin = geometry_.begin_of(row.block).value() / kSectorSize;
  const std::uint64_t end = std::min(begin + geometry_.sectors_per_block(), disk_sectors_);
  put({next_, begin, true, 0, next_});
  next_ = end;

  const bool remapped = row.state == EntryState::remapped;
  std::uint64_t place = begin;
  if (remapped) {
    const auto spare = std::find_if(info_.spares.begin(), info_.spares.end(),
                                    [&](const SpareInfo& info) { return info.id == row.where.spare; });
    REMAPFS_INVARIANT(spare != info_.spares.end());
    place = (spare->begin.value() + spare->first_slot.value() + (row.where.slot.value() << geometry_.shift())) /
            kSectorSize;
  }
  const auto grid_sectors = static_cast<unsigned>(std::popcount(grid_));
  for (unsigned first = 0; begin + first < end; first += grid_sectors) {
    const SectorMask here = grid_ << first & BlockGeometry::mask_of(0, end - begin);
    const bool readable = (here & ~row.valid_mask) == 0;
    if (!readable) figures_.widened_sectors += static_cast<std::uint64_t>(std::popcount(here & row.valid_mask));
    put({begin + first, std::min(begin + first + grid_sectors, end), readable, remapped ? row.where.spare : SpareId{0},
         place + first});
  }
}

void DmTable::finish() {
  put({next_, disk_sectors_, true, 0, next_});
  write();
  open_ = {};
}

}  // namespace remapfs::exchange
