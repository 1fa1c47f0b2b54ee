// SPDX-License-Identifier: Apache-2.0
#include "exchange/dm_table.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace remapfs::exchange {
namespace {

// 100 blocks and a partial one of three sectors; two spares whose slots begin at sectors 2048 and 4096.
class DmTables : public ::testing::Test {
 protected:
  DmTables() {
    info.block_size = 4096;
    info.size = ByteCount(803 * kSectorSize);
    info.spares.push_back({1, "s", "u", 100, ByteOffset(2048 * kSectorSize), {}, false});
    info.spares.push_back({2, "t", "v", 100, ByteOffset(4096 * kSectorSize), {}, false});
  }
  std::string table(const std::vector<RemapRow>& rows, std::uint32_t logical_block = 512) {
    std::ostringstream out;
    DmTable made(out, info, {{0, "P"}, {1, "S"}, {2, "T"}}, logical_block);
    for (const RemapRow& row : rows) made.add(row);
    made.finish();
    figures = made.figures();
    return out.str();
  }
  static RemapRow row(std::uint64_t block, EntryState state, SectorMask valid = 0xFF, SlotAddress where = {}) {
    RemapRow made;
    made.block = BlockIndex(block);
    made.state = state;
    made.valid_mask = valid;
    made.where = where;
    return made;
  }
  VolumeInfo info;
  DmTable::Figures figures;
};

TEST_F(DmTables, UntouchedVolumeIsOneLine) {
  EXPECT_EQ(table({}), "0 803 linear P 0\n");
  EXPECT_EQ(table({row(5, EntryState::weak)}), "0 803 linear P 0\n");
}

TEST_F(DmTables, NeighboursInNeighbouringSlotsAreOneLine) {
  EXPECT_EQ(table({row(0, EntryState::remapped, 0xFF, {1, SlotIndex(3)}),
                   row(1, EntryState::remapped, 0xFF, {1, SlotIndex(4)}),
                   row(2, EntryState::remapped, 0xFF, {1, SlotIndex(6)}),
                   row(3, EntryState::remapped, 0xFF, {2, SlotIndex(7)})}),
            "0 16 linear S 2072\n16 8 linear S 2096\n24 8 linear T 4152\n32 771 linear P 32\n");
}

TEST_F(DmTables, LostSectorsAreErrorsOnPrimaryAndSlotAlike) {
  EXPECT_EQ(table({row(1, EntryState::lost, 0x0F), row(2, EntryState::lost, 0xFE),
                   row(4, EntryState::remapped, 0xFD, {1, SlotIndex(0)})}),
            "0 12 linear P 0\n12 5 error\n17 15 linear P 17\n32 1 linear S 2048\n33 1 error\n34 6 linear S 2050\n"
            "40 763 linear P 40\n");
  EXPECT_EQ(figures.error_sectors, 6U);
  EXPECT_EQ(figures.widened_sectors, 0U);
}

TEST_F(DmTables, PartialLastBlockEndsWithTheDisk) {
  EXPECT_EQ(table({row(100, EntryState::remapped, 0xFF, {2, SlotIndex(1)})}),
            "0 800 linear P 0\n800 3 linear T 4104\n");
  EXPECT_EQ(table({row(100, EntryState::lost, 0xF8)}), "0 800 linear P 0\n800 3 error\n");
}

TEST_F(DmTables, BoundariesKeepToTheDevicesBlocks) {
  EXPECT_EQ(table({row(0, EntryState::lost, 0xFB), row(1, EntryState::lost, 0x7F)}, 1024),
            "0 2 linear P 0\n2 2 error\n4 10 linear P 4\n14 2 error\n16 787 linear P 16\n");
  EXPECT_EQ(figures.widened_sectors, 2U);
  EXPECT_EQ(table({row(0, EntryState::lost, 0xFB)}, 4096), "0 8 error\n8 795 linear P 8\n");
}

}  // namespace
}  // namespace remapfs::exchange
