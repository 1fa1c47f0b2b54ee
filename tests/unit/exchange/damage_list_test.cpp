// SPDX-License-Identifier: Apache-2.0
#include "exchange/damage_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "support/random.hpp"

namespace remapfs::exchange {
namespace {

using ::testing::ElementsAre;

constexpr Damage kLost = Damage::lost;
constexpr Damage kWeak = Damage::weak;
constexpr BlockGeometry k4096(4096);

DamageList list_of(std::uint64_t disk_sectors) { return DamageList(ByteCount(disk_sectors * kSectorSize)); }

// In sectors.
void add(DamageList& list, std::uint64_t begin, std::uint64_t end, Damage damage) {
  ASSERT_TRUE(list.add(begin * kSectorSize, end * kSectorSize, damage));
}

ImportRun run(std::uint64_t begin, std::uint64_t end, SectorMask lost) {
  return {{BlockIndex(begin), BlockIndex(end)}, lost};
}

TEST(DamageList, NeighboursAreJoinedAndTheOrderDoesNotMatter) {
  DamageList list = list_of(1000);
  add(list, 20, 30, kLost);
  add(list, 0, 5, kLost);
  add(list, 5, 7, kLost);
  add(list, 7, 9, kWeak);
  add(list, 25, 35, kLost);
  add(list, 25, 26, kLost);
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 7, kLost}, DamagedRun{7, 9, kWeak}, DamagedRun{20, 35, kLost}));
}

TEST(DamageList, WherePlacesOverlapLostWins) {
  for (const bool lost_first : {false, true}) {
    DamageList list = list_of(1000);
    if (lost_first) add(list, 10, 20, kLost);
    add(list, 0, 100, kWeak);
    if (!lost_first) add(list, 10, 20, kLost);
    add(list, 95, 110, kLost);
    EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 10, kWeak}, DamagedRun{10, 20, kLost}, DamagedRun{20, 95, kWeak},
                                         DamagedRun{95, 110, kLost}));
  }
}

TEST(DamageList, ASectorThatIsTouchedIsDamaged) {
  DamageList list = list_of(1000);
  ASSERT_TRUE(list.add(511, 513, kLost));
  ASSERT_TRUE(list.add(2048, 2049, kLost));
  ASSERT_TRUE(list.add(5000, 5000, kLost));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 2, kLost}, DamagedRun{4, 5, kLost}));
}

TEST(DamageList, WhatIsOutsideTheDiskIsCutAndCounted) {
  DamageList list = list_of(10);
  ASSERT_TRUE(list.add(0, 512, kLost, 1));
  ASSERT_TRUE(list.add(8 * 512, 99 * 512, kLost, 2));
  ASSERT_TRUE(list.add(10 * 512, 11 * 512, kLost, 3));
  ASSERT_TRUE(list.add(~std::uint64_t{0} - 512, ~std::uint64_t{0}, kLost, 4));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 1, kLost}, DamagedRun{8, 10, kLost}));
  EXPECT_EQ(list.places(), 4U);
  EXPECT_EQ(list.outside().whole, 2U);
  EXPECT_EQ(list.outside().in_part, 1U);
  EXPECT_EQ(list.outside().first_line, 2U);
}

TEST(DamageList, BlocksLoseExactlyTheirListedSectors) {
  DamageList list = list_of(83);  // the last block has three sectors
  add(list, 3, 5, kLost);
  add(list, 6, 7, kLost);
  add(list, 14, 40, kLost);
  add(list, 48, 49, kWeak);
  add(list, 50, 51, kLost);
  add(list, 52, 53, kWeak);
  add(list, 80, 83, kLost);
  EXPECT_THAT(by_block(list.runs(), k4096),
              ElementsAre(run(0, 1, 0x58), run(1, 2, 0xC0), run(2, 5, 0xFF), run(6, 7, 0x04), run(10, 11, 0x07)));
}

TEST(DamageList, BlocksOfWhichTheSameIsSaidAreOneRun) {
  DamageList list = list_of(1000);
  for (std::uint64_t block = 0; block < 10; ++block) add(list, block * 8 + 1, block * 8 + 2, kLost);
  add(list, 80, 160, kWeak);
  add(list, 163, 164, kWeak);
  EXPECT_THAT(by_block(list.runs(), k4096), ElementsAre(run(0, 10, 0x02), run(10, 21, 0)));
}

// Against an array of sectors: whatever comes in whatever order.
TEST(DamageList, AgreesWithOneNoteASector) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  constexpr std::uint64_t kSectors = 203;
  for (int round = 0; round < 2000; ++round) {
    DamageList list = list_of(kSectors);
    std::array<int, kSectors> notes{};  // 0 nothing, 1 weak, 2 lost
    for (std::uint64_t left = random.below(12); left > 0; --left) {
      const std::uint64_t begin = random.below(kSectors + 5);
      const std::uint64_t end = begin + random.below(30);
      const Damage damage = random.one_in(2) ? kLost : kWeak;
      add(list, begin, end, damage);
      for (std::uint64_t s = begin; s < std::min(end, kSectors); ++s) {
        notes[s] = std::max(notes[s], damage == kLost ? 2 : 1);
      }
    }
    std::array<int, kSectors> found{};
    std::uint64_t next = 0;
    for (const DamagedRun& one : list.runs()) {
      ASSERT_TRUE(next <= one.begin && one.begin < one.end);
      for (next = one.begin; next < one.end; ++next) found[next] = one.damage == kLost ? 2 : 1;
    }
    ASSERT_EQ(found, notes);

    std::uint64_t next_block = 0;
    std::array<bool, kSectors / 8 + 1> listed{};
    for (const ImportRun& one : by_block(list.runs(), k4096)) {
      ASSERT_TRUE(next_block <= one.blocks.begin.value() && !one.blocks.empty());
      for (next_block = one.blocks.begin.value(); next_block < one.blocks.end.value(); ++next_block) {
        listed[next_block] = true;
        bool any = false;
        for (std::uint64_t s = 0; s < 8; ++s) {
          const std::uint64_t sector = next_block * 8 + s;
          const int note = sector < kSectors ? notes[sector] : 0;
          ASSERT_EQ(one.lost >> s & 1U, note == 2 ? 1U : 0U) << "sector " << sector;
          any = any || note != 0;
        }
        ASSERT_TRUE(any) << "block " << next_block;
      }
    }
    for (std::uint64_t s = 0; s < kSectors; ++s) ASSERT_TRUE(notes[s] == 0 || listed[s / 8]) << "sector " << s;
  }
}

TEST(DamageList, MemoryIsBoundedByTheSeparatePlacesAndNotByTheList) {
  DamageList often(ByteCount(1U << 30U), 100);
  for (std::uint64_t i = 0; i < 10'000; ++i) add(often, (i * 37 % 90) * 2, (i * 37 % 90) * 2 + 1, kLost);
  EXPECT_EQ(often.runs().size(), 90U);
  EXPECT_LE(often.runs().capacity(), 400U);
  for (const std::uint64_t step : {2U, 74U}) {  // in order, and not
    DamageList many(ByteCount(1U << 30U), 100);
    Result<void> added;
    std::uint64_t line = 0;
    for (; added && line < 500; ++line) {
      const std::uint64_t sector = line * step % 1009;
      added = many.add(sector * kSectorSize, (sector + 1) * kSectorSize, kLost, line);
    }
    ASSERT_FALSE(added) << step;
    EXPECT_EQ(added.error().code, Errc::no_memory);
    EXPECT_LE(line, 202U) << step;
  }
}

TEST(DamageList, RowsSayWhatThePrimaryHas) {
  RemapRow row;
  row.block = BlockIndex(2);
  row.state = EntryState::lost;
  row.valid_mask = 0xF9;
  DamageList list = list_of(20);
  ASSERT_TRUE(add_row(list, row, k4096, false));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{17, 19, kLost}));
  row.state = EntryState::weak;
  row.valid_mask = 0xFF;
  DamageList weak = list_of(20);
  ASSERT_TRUE(add_row(weak, row, k4096, false));
  EXPECT_THAT(weak.runs(), ElementsAre(DamagedRun{16, 20, kWeak}));
  EXPECT_EQ(weak.outside().in_part, 0U);
  row.state = EntryState::remapped;
  row.valid_mask = 0xFE;
  DamageList unused = list_of(20);
  ASSERT_TRUE(add_row(unused, row, k4096, true));
  EXPECT_THAT(unused.runs(), ElementsAre(DamagedRun{16, 20, kWeak}));
  DamageList data = list_of(20);
  ASSERT_TRUE(add_row(data, row, k4096, false));
  EXPECT_THAT(data.runs(), ElementsAre(DamagedRun{16, 17, kLost}));
}

}  // namespace
}  // namespace remapfs::exchange
