// SPDX-License-Identifier: Apache-2.0
#include "exchange/csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "support/text_source.hpp"

namespace remapfs::exchange {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 64U << 20U;

Result<CsvNotes> read(std::string_view text, DamageList& list, std::uint64_t block_size = 4096) {
  auto lines = testing::lines_of(text);
  return read_csv(lines, block_size, list);
}

TEST(Csv, LostSectorsAreThoseOfTheMask) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("state,block,valid_mask\nlost,0,0xf9\nlost,2,254\nlost,3,\nweak,5,0xff\n", list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{1, 3, Damage::lost}, DamagedRun{16, 17, Damage::lost},
                                       DamagedRun{24, 32, Damage::lost}, DamagedRun{40, 48, Damage::weak}));
}

TEST(Csv, ABlockIsFoundByNumberOrOffsetInItsOwnBlockSize) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("offset,state,block_size,block\n8192,lost,512,\n,lost,1024,20\n32768,lost,,8\n", list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{16, 17, Damage::lost}, DamagedRun{40, 42, Damage::lost},
                                       DamagedRun{64, 72, Damage::lost}));
}

TEST(Csv, MasksOf64SectorsMayBeSigned) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(
      read("block,state,valid_mask\n0,lost,-2\n1,lost,0x7fffffffffffffff\n2,lost,-9223372036854775808\n", list, 32768));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{0, 1, Damage::lost}, DamagedRun{127, 191, Damage::lost}));
}

TEST(Csv, RemappedBlocksAreLostAndCounted) {
  DamageList list{ByteCount(kDisk)};
  const auto notes = read("block,state,valid_mask,slot\n3,remapped,0xff,17\n", list);
  ASSERT_TRUE(notes);
  EXPECT_EQ(notes->remapped_as_lost, 1U);
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{24, 32, Damage::lost}));
}

TEST(Csv, QuotedFieldsAreRead) {
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read("\"block\",\"cause\",\"state\"\r\n\"1\",\"a \"\"b\"\", c\",\"weak\"\r\n", list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{8, 16, Damage::weak}));
}

TEST(Csv, WhatIsNoListIsRefusedWithItsLine) {
  const std::pair<std::string, int> wrong[] = {
      {"", 0},
      {"block\n1\n", 1},
      {"state\nlost\n", 1},
      {"block,state,frobnicate\n", 1},
      {"block,state,block\n", 1},
      {"block,state\n1\n", 2},
      {"block,state\n1,lost,2\n", 2},
      {"block,state\n\"1,lost\n", 2},
      {"block,state\n\"1\"2,lost\n", 2},
      {"block,state\n1\"2,lost\n", 2},
      {"block,state\n-1,lost\n", 2},
      {"block,state\n,lost\n", 2},
      {"block,state\n1,dead\n", 2},
      {"block,state,valid_mask\n1,lost,0xff\n", 2},
      {"block,state,valid_mask\n1,lost,0x100\n", 2},
      {"block,state,valid_mask\n1,lost,-1\n", 2},
      {"block,state,valid_mask\n1,lost,many\n", 2},
      {"block,state,block_size\n1,lost,1000\n", 2},
      {"offset,state\n100,lost\n", 2},
      {"block,offset,state\n1,512,lost\n", 2},  // made with blocks of 512
  };
  for (const auto& [text, line] : wrong) {
    DamageList list{ByteCount(kDisk)};
    const auto refused = read(text, list);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_THAT(refused.error().message, HasSubstr("list line " + std::to_string(line) + " (")) << text;
  }
}

TEST(Csv, NumbersBeyondAnyDiskAreOutsideAndTheLastBlockMayBePartial) {
  DamageList list{ByteCount(kDisk + 512)};
  ASSERT_TRUE(read("block,state\n18446744073709551615,lost\n4503599627370496,weak\n16384,weak\n", list));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{kDisk / 512, kDisk / 512 + 1, Damage::weak}));
  EXPECT_EQ(list.outside().whole, 2U);
  EXPECT_EQ(list.outside().in_part, 0U);
}

TEST(Csv, WhatIsWrittenIsReadTheSame) {
  const BlockGeometry geometry(4096);
  RemapRow lost{BlockIndex(3), EntryState::lost, {}, 0xF0, 0, Sequence(), Cause::imported, 0};
  RemapRow slot{BlockIndex(4), EntryState::remapped, {1, SlotIndex(9)}, 0xFF, 0xFF, Sequence(5), Cause::read_error, 2};
  std::ostringstream out;
  write_csv_header(out);
  write_csv_row(lost, geometry, "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", out);
  write_csv_row(slot, geometry, "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", out);
  EXPECT_EQ(out.str(),
            "block,offset,state,spare_id,slot,valid_mask,written_mask,sequence,cause,error_count,created_at,"
            "updated_at,block_size\n"
            "3,12288,lost,,,0xf0,0x0,0,imported,0,2026-01-02T03:04:05Z,2026-01-02T03:04:06Z,4096\n"
            "4,16384,remapped,1,9,0xff,0xff,5,read_error,2,2026-01-02T03:04:05Z,2026-01-02T03:04:06Z,4096\n");
  DamageList list{ByteCount(kDisk)};
  ASSERT_TRUE(read(out.str(), list, 512));
  EXPECT_THAT(list.runs(), ElementsAre(DamagedRun{24, 28, Damage::lost}, DamagedRun{32, 40, Damage::lost}));
}

}  // namespace
}  // namespace remapfs::exchange
