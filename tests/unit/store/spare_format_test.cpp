// SPDX-License-Identifier: Apache-2.0
#include "store/spare_format.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "store/little_endian.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

Uuid counting_uuid(int from) {
  Uuid uuid;
  for (std::size_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::byte>(from + static_cast<int>(i));
  return uuid;
}

Superblock example() {
  Superblock superblock;
  superblock.volume = counting_uuid(0);
  superblock.spare = counting_uuid(0x40);
  superblock.id = 3;
  superblock.layout = SpareLayout::of(ByteCount(8 * kMiB), 4096);
  superblock.watermark = Sequence(0x0102030405060708);
  return superblock;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4U];
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15U];
  }
  return text;
}

TEST(Uuid, TextRoundTripsAndBadTextIsRefused) {
  const auto uuid = Uuid::generate();
  ASSERT_TRUE(uuid.has_value());
  EXPECT_EQ(Uuid::parse(uuid->to_string()), *uuid);
  EXPECT_EQ(uuid->to_string()[14], '4');
  EXPECT_NE(*Uuid::generate(), *uuid);
  EXPECT_EQ(counting_uuid(0).to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
  EXPECT_EQ(Uuid::parse("00010203-0405-0607-0809-0A0B0C0D0E0F"), counting_uuid(0));
  for (const char* bad : {"", "00010203-0405-0607-0809-0a0b0c0d0e0", "00010203-0405-0607-0809-0a0b0c0d0e0g",
                          "00010203x0405-0607-0809-0a0b0c0d0e0f", "00010203-0405-0607-0809-0a0b0c0d0e0f "}) {
    EXPECT_FALSE(Uuid::parse(bad).has_value()) << bad;
  }
}

TEST(SpareLayout, PartsAreAlignedApartInsideTheDeviceAndNothingIsWasted) {
  for (std::uint64_t block_size = 512; block_size <= 32768; block_size *= 2) {
    for (const std::uint64_t size :
         {2 * kMiB, 3 * kMiB + 512, 8 * kMiB, 100 * kMiB + 4096, 1000 * kMiB, 2'000'000 * kMiB}) {
      SCOPED_TRACE(block_size);
      SCOPED_TRACE(size);
      const SpareLayout layout = SpareLayout::of(ByteCount(size), block_size);
      ASSERT_GT(layout.slots, 0U);
      EXPECT_EQ(layout.slots, slots_for(ByteCount(size), block_size));
      const std::uint64_t slots_end = layout.first_slot.value() + layout.slots * block_size;
      EXPECT_EQ(layout.superblock[0].value(), 0U);
      EXPECT_GE(layout.tags[0].value(), 4096U);
      EXPECT_LE(layout.tags[0].value() + layout.tag_table_bytes(), layout.first_slot.value());
      EXPECT_LE(slots_end, layout.tags[1].value());
      EXPECT_EQ(layout.tags[1].value() + layout.tag_table_bytes(), layout.superblock[1].value());
      EXPECT_EQ(layout.superblock[1].value() + 4096, round_down(size, 4096));
      EXPECT_EQ(layout.first_slot.value() % kMiB, 0U);
      EXPECT_EQ(layout.tags[0].value() % 4096 + layout.tags[1].value() % 4096, 0U);
      EXPECT_GE(layout.tag_table_bytes() * kTagsPerSector / 512, layout.slots);
      // One more slot would not fit, however the parts are placed: its own bytes and those of a grown table are more
      // than the gaps hold, or the first slot moves by a mebibyte.
      const std::uint64_t gap = layout.tags[1].value() - slots_end;
      const bool table_full = layout.slots % (kTagsPerSector * 8) == 0;
      const bool start_full = layout.tags[0].value() + layout.tag_table_bytes() == layout.first_slot.value();
      EXPECT_TRUE(gap < block_size + 4096 * (table_full ? 1 : 0) + (table_full && start_full ? kMiB : 0)) << gap;
    }
  }
}

TEST(SpareLayout, SmallestDeviceForOneSlotIsFoundExactly) {
  for (std::uint64_t block_size = 512; block_size <= 32768; block_size *= 2) {
    const std::uint64_t least = kMiB + round_up(block_size, 4096) + 4096 + 4096;
    EXPECT_EQ(slots_for(ByteCount(least - 1), block_size), 0U);
    EXPECT_GE(slots_for(ByteCount(least), block_size), 1U);
    EXPECT_EQ(SpareLayout::of(ByteCount(least - 1), block_size).slots, 0U);
    EXPECT_EQ(slots_for(ByteCount(0), block_size), 0U);
  }
}

TEST(SpareLayout, MoreBytesNeverMeanFewerSlots) {
  std::uint64_t previous = 0;
  for (std::uint64_t size = 0; size < 64 * kMiB; size += 4096) {
    const std::uint64_t slots = slots_for(ByteCount(size), 512);
    ASSERT_GE(slots, previous) << size;
    previous = slots;
  }
}

TEST(SuperblockFormat, RoundTrips) {
  std::array<std::byte, kSuperblockBytes> bytes{};
  encode_superblock(example(), bytes);
  const auto decoded = decode_superblock(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(*decoded, example());
}

TEST(SuperblockFormat, BytesAreAsDocumented) {
  std::array<std::byte, kSuperblockBytes> bytes{};
  encode_superblock(example(), bytes);
  EXPECT_EQ(hex(std::span(bytes).first(104)),
            "524d465350415245"                  // RMFSPARE
            "0100000003000000"                  // version, number of the spare
            "000102030405060708090a0b0c0d0e0f"  // volume
            "404142434445464748494a4b4c4d4e4f"  // spare
            "0010000000000000"                  // block size
            "ec06000000000000"                  // slots
            "0000800000000000"                  // device size
            "0010000000000000"                  // tags A
            "00c07e0000000000"                  // tags B
            "0000100000000000"                  // first slot
            "0807060504030201");                // watermark
  EXPECT_EQ(hex(std::span(bytes).subspan(104, 400)), std::string(800, '0'));
  EXPECT_EQ(hex(std::span(bytes).last(8)), "8894cf97b6ccc3ae");
}

TEST(SuperblockFormat, WhatRecoveryNeedsIsWhereItIsDocumented) {
  Superblock superblock = example();
  superblock.rows = {0x11, 0x2233445566778899};
  superblock.volume_size = ByteCount(0x200000);
  superblock.primary_identity = "kind=disk size=2097152";
  std::array<std::byte, kSuperblockBytes> bytes{};
  encode_superblock(superblock, bytes);
  EXPECT_EQ(hex(std::span(bytes).subspan(104, 24)),
            "1100000000000000"    // rows
            "9988776655443322"    // their digest
            "0000200000000000");  // volume size
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()) + 128), superblock.primary_identity);
  EXPECT_EQ(*decode_superblock(bytes), superblock);
  superblock.primary_identity.assign(kIdentityBytes, 'x');
  encode_superblock(superblock, bytes);
  EXPECT_EQ(*decode_superblock(bytes), superblock);
  superblock.primary_identity += 'x';
  encode_superblock(superblock, bytes);
  EXPECT_EQ(decode_superblock(bytes)->primary_identity, "") << "half an identity would be another one";
}

TEST(SuperblockFormat, EveryChangedBitIsNoticed) {
  std::array<std::byte, kSuperblockBytes> good{};
  encode_superblock(example(), good);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const auto decoded = decode_superblock(bytes);
    ASSERT_FALSE(decoded.has_value()) << bit;
    ASSERT_EQ(decoded.error().code, bit < 64 ? Errc::foreign : Errc::corrupt) << bit;
  }
}

TEST(SuperblockFormat, ZerosAreNoSuperblock) {
  const std::array<std::byte, kSuperblockBytes> bytes{};
  EXPECT_EQ(decode_superblock(bytes).error().code, Errc::not_found);
}

TEST(TagFormat, UsedClearedAndNeverUsedRoundTrip) {
  const Uuid spare = counting_uuid(1);
  const Tag used{Tag::Kind::used, BlockIndex(77), Sequence(5), ~SectorMask{0}, 0x8000000000000001U};
  for (const Tag& tag : {used, Tag::cleared_at(Sequence(9)), Tag{}}) {
    std::array<std::byte, kTagBytes> bytes{};
    encode_tag(tag, spare, SlotIndex(12), bytes);
    EXPECT_EQ(decode_tag(bytes, spare, SlotIndex(12)), tag);
  }
}

TEST(TagFormat, BytesAreAsDocumented) {
  std::array<std::byte, kTagBytes> bytes{};
  encode_tag({Tag::Kind::used, BlockIndex(0x1122), Sequence(0x33), 0xFF, 0x7F}, counting_uuid(1), SlotIndex(12), bytes);
  EXPECT_EQ(hex(bytes),
            "2211000000000000"
            "3300000000000000"
            "ff00000000000000"
            "7f00000000000000"
            "d16b0fd2c39bf7b7");
  encode_tag(Tag::cleared_at(Sequence(0x33)), counting_uuid(1), SlotIndex(12), bytes);
  EXPECT_EQ(hex(std::span(bytes).first(32)),
            "ffffffffffffffff"
            "3300000000000000"
            "0000000000000000"
            "0000000000000000");
}

TEST(TagFormat, TagOfAnotherSlotOrSpareNeverVerifies) {
  std::array<std::byte, kTagBytes> bytes{};
  encode_tag(Tag::cleared_at(Sequence(1)), counting_uuid(1), SlotIndex(12), bytes);
  EXPECT_EQ(decode_tag(bytes, counting_uuid(1), SlotIndex(13)).kind, Tag::Kind::invalid);
  EXPECT_EQ(decode_tag(bytes, counting_uuid(2), SlotIndex(12)).kind, Tag::Kind::invalid);
}

TEST(TagFormat, EveryChangedBitIsNoticed) {
  std::array<std::byte, kTagBytes> good{};
  encode_tag({Tag::Kind::used, BlockIndex(7), Sequence(3), 1, 3}, counting_uuid(1), SlotIndex(0), good);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    ASSERT_EQ(decode_tag(bytes, counting_uuid(1), SlotIndex(0)).kind, Tag::Kind::invalid) << bit;
  }
}

TEST(TagFormat, NoTagCrossesASector) {
  for (std::uint64_t slot = 0; slot < 1000; ++slot) {
    const TagPlace place = tag_place(SlotIndex(slot));
    EXPECT_EQ(place.sector, slot / 12);
    EXPECT_EQ(place.in_sector, slot % 12 * 40);
    EXPECT_LE(place.in_sector + kTagBytes, 480U);
  }
}

}  // namespace
}  // namespace remapfs::store
