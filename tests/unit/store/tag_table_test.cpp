// SPDX-License-Identifier: Apache-2.0
#include "store/tag_table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "support/fake_disk.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

using On = testing::FaultRule::On;
using Lasts = testing::FaultRule::Lasts;

Tag used(std::uint64_t block, std::uint64_t sequence) {
  return {Tag::Kind::used, BlockIndex(block), Sequence(sequence), 0xFF, 0xFF};
}

class TagTableTest : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  TagTableTest()
      : disk_(testing::FakeDisk::with_logical_block(ByteCount(16 * kMiB), GetParam())),
        layout_(SpareLayout::of(ByteCount(16 * kMiB), 4096)),
        table_(*disk_, layout_, uuid_) {}

  TagTable::Outcome update(const std::vector<TagTable::Update>& updates) {
    auto outcome = table_.update(updates);
    EXPECT_TRUE(outcome.has_value());
    return outcome ? *outcome : TagTable::Outcome{};
  }
  [[nodiscard]] std::uint64_t sector(Copy copy, std::uint64_t slot) const {
    return layout_.tags[static_cast<std::size_t>(copy)].value() / 512 + tag_place(SlotIndex(slot)).sector;
  }
  [[nodiscard]] Tag on_disk(Copy copy, std::uint64_t slot) const {
    std::array<std::byte, kTagBytes> bytes{};
    disk_->peek(ByteOffset(sector(copy, slot) * 512 + tag_place(SlotIndex(slot)).in_sector), bytes);
    return decode_tag(bytes, uuid_, SlotIndex(slot));
  }
  void expect_both(std::uint64_t slot, const Tag& tag) {
    EXPECT_EQ(on_disk(Copy::a, slot), tag) << slot;
    EXPECT_EQ(on_disk(Copy::b, slot), tag) << slot;
  }
  testing::FaultId bad(Copy copy, std::uint64_t slot, On on) {
    return disk_->add_bad_sectors(sector(copy, slot), 1, on);
  }

  const Uuid uuid_{};
  std::unique_ptr<testing::FakeDisk> disk_;
  SpareLayout layout_;
  TagTable table_;
};

TEST_P(TagTableTest, UpdatesReachBothCopiesAndLeaveNeighboursAlone) {
  update({{SlotIndex(5), used(50, 1)}, {SlotIndex(6), used(60, 1)}});
  update({{SlotIndex(6), used(61, 2)}});
  expect_both(5, used(50, 1));
  expect_both(6, used(61, 2));
  expect_both(4, Tag{});
  expect_both(7, Tag{});
  EXPECT_EQ(disk_->peek({ByteOffset(layout_.first_slot), ByteOffset(layout_.tags[1])}),
            std::vector<std::byte>(layout_.tags[1].value() - layout_.first_slot.value()));
}

TEST_P(TagTableTest, EdgesOfTheTableWork) {
  const std::uint64_t last = layout_.slots - 1;
  update({{SlotIndex(last), used(1, 1)}, {SlotIndex(0), used(2, 1)}});
  expect_both(last, used(1, 1));
  expect_both(0, used(2, 1));
}

TEST_P(TagTableTest, LastOfSeveralUpdatesOfASlotCounts) {
  update({{SlotIndex(9), used(1, 1)}, {SlotIndex(3), used(5, 1)}, {SlotIndex(9), Tag::cleared_at(Sequence(1))}});
  expect_both(9, Tag::cleared_at(Sequence(1)));
  expect_both(3, used(5, 1));
}

TEST_P(TagTableTest, NeighbouringUpdatesAreOneWritePerCopyAndFarOnesAreSeveral) {
  std::vector<TagTable::Update> updates;
  for (std::uint64_t slot = 0; slot < 1000; ++slot) updates.push_back({SlotIndex(999 - slot), used(slot, 1)});
  disk_->reset_counters();
  update(updates);
  EXPECT_EQ(disk_->counters().writes, 2U);
  for (std::uint64_t slot = 0; slot < 1000; ++slot) expect_both(slot, used(999 - slot, 1));
  disk_->reset_counters();
  update({{SlotIndex(0), used(1, 2)}, {SlotIndex(2000), used(2, 2)}});
  EXPECT_EQ(disk_->counters().writes, 4U);
  disk_->reset_counters();
  update({});
  EXPECT_EQ(disk_->counters().writes + disk_->counters().reads, 0U);
}

TEST_P(TagTableTest, OneCopyThatCannotBeWrittenIsToleratedAndNotedOnce) {
  for (const Copy copy : kCopies) {
    disk_->clear_faults();
    const std::uint64_t slot = copy == Copy::a ? 10 : 2000;
    bad(copy, slot, On::write);
    const auto first = update({{SlotIndex(slot), used(1, 1)}});
    EXPECT_TRUE(first.bad.empty());
    EXPECT_EQ(first.notes.size(), 1U);
    EXPECT_FALSE(table_.both_copies_good());
    EXPECT_EQ(on_disk(other(copy), slot), used(1, 1));
    EXPECT_TRUE(update({{SlotIndex(slot), used(1, 2)}}).notes.empty());
    disk_->clear_faults();
    EXPECT_TRUE(update({{SlotIndex(slot), used(1, 3)}}).notes.empty());
    expect_both(slot, used(1, 3));
    EXPECT_TRUE(table_.both_copies_good());
  }
}

// A device that was away, and works again.
TEST_P(TagTableTest, WhatNeitherCopyTookIsWrittenWithTheNextUpdateNearby) {
  update({{SlotIndex(10), used(1, 1)}, {SlotIndex(11), used(2, 1)}});
  disk_->set_before([&](const testing::FakeOperation& operation) {
    if (operation.kind == testing::FakeOperation::Kind::write) disk_->set_outage(testing::Outage::failing);
  });
  EXPECT_EQ(update({{SlotIndex(10), used(1, 2)}}).bad, (std::vector<SlotIndex>{SlotIndex(10)}));
  EXPECT_EQ(update({{SlotIndex(10), used(1, 3)}}).bad, (std::vector<SlotIndex>{SlotIndex(10)}));
  disk_->set_before({});
  disk_->set_outage(testing::Outage::none);
  EXPECT_TRUE(update({{SlotIndex(11), used(2, 4)}}).bad.empty());
  expect_both(10, used(1, 3));
  expect_both(11, used(2, 4));
  EXPECT_TRUE(table_.both_copies_good());
}

TEST_P(TagTableTest, CopyWhoseWriteFailedIsNotBelievedForNeighbours) {
  update({{SlotIndex(10), used(1, 1)}, {SlotIndex(11), used(2, 1)}});
  const auto fault = bad(Copy::a, 10, On::write);
  update({{SlotIndex(10), used(1, 2)}});
  disk_->remove_fault(fault);
  update({{SlotIndex(11), used(2, 3)}});
  expect_both(10, used(1, 2));
  expect_both(11, used(2, 3));
}

TEST_P(TagTableTest, UnreadableCopyIsReplacedFromTheOther) {
  update({{SlotIndex(10), used(1, 1)}, {SlotIndex(11), used(2, 1)}});
  for (const Copy copy : kCopies) {
    disk_->add_fault({.range = {ByteOffset(sector(copy, 10) * 512), ByteOffset(sector(copy, 10) * 512 + 512)},
                      .on = On::read,
                      .lasts = Lasts::until_written});
    const auto outcome = update({{SlotIndex(11), used(2, 5)}});
    EXPECT_TRUE(outcome.bad.empty());
    expect_both(10, used(1, 1));
    expect_both(11, used(2, 5));
  }
}

TEST_P(TagTableTest, NeighbourThatDoesNotVerifyIsTakenFromTheOtherCopy) {
  update({{SlotIndex(10), used(1, 1)}, {SlotIndex(11), used(2, 1)}});
  const std::array byte{std::byte{0xEE}};
  disk_->poke(ByteOffset(sector(Copy::a, 10) * 512 + tag_place(SlotIndex(10)).in_sector), byte);
  update({{SlotIndex(11), used(2, 2)}});
  expect_both(10, used(1, 1));
}

TEST_P(TagTableTest, SlotIsBadWhenNeitherCopyCanBeWritten) {
  bad(Copy::a, 10, On::write);
  bad(Copy::b, 10, On::write);
  const std::uint64_t far = 10 + table_.slots_per_block();
  const auto outcome = update({{SlotIndex(10), used(1, 1)}, {SlotIndex(far), used(2, 1)}});
  EXPECT_EQ(outcome.bad, std::vector{SlotIndex(10)});
  expect_both(far, used(2, 1));
}

TEST_P(TagTableTest, SlotIsBadWhenNeighboursWouldBeLost) {
  update({{SlotIndex(11), used(2, 1)}});
  bad(Copy::a, 10, On::read);
  bad(Copy::b, 10, On::read);
  const std::uint64_t far = 10 + table_.slots_per_block();
  const auto outcome = update({{SlotIndex(10), used(1, 1)}, {SlotIndex(far), used(2, 1)}});
  EXPECT_EQ(outcome.bad, std::vector{SlotIndex(10)});
  expect_both(11, used(2, 1));
  expect_both(far, used(2, 1));
}

TEST_P(TagTableTest, BlockReplacedAsAWholeNeedsNoReading) {
  std::vector<TagTable::Update> updates;
  for (std::uint64_t slot = 0; slot < table_.slots_per_block(); ++slot)
    updates.push_back({SlotIndex(slot), used(slot, 1)});
  for (const Copy copy : kCopies) {
    disk_->add_fault({.range = {ByteOffset(sector(copy, 0) * 512), ByteOffset(sector(copy, 0) * 512 + 512)},
                      .on = On::read,
                      .lasts = Lasts::until_written});
  }
  EXPECT_TRUE(update(updates).bad.empty());
  for (std::uint64_t slot = 0; slot < table_.slots_per_block(); ++slot) expect_both(slot, used(slot, 1));
}

TEST_P(TagTableTest, DeviceThatVanishedIsAnErrorNotABadSlot) {
  disk_->set_outage(testing::Outage::gone);
  const auto outcome = table_.update({{SlotIndex(1), used(1, 1)}});
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().code, Errc::device_gone);
}

TEST_P(TagTableTest, ReaderSeesEveryTagAndNamesUnreadableOnes) {
  update({{SlotIndex(0), used(1, 1)}, {SlotIndex(3000), used(2, 1)}, {SlotIndex(layout_.slots - 1), used(3, 1)}});
  bad(Copy::a, 3000, On::read);
  TagReader a(table_, Copy::a);
  TagReader b(table_, Copy::b);
  for (std::uint64_t slot = 0; slot < layout_.slots; ++slot) {
    const auto from_a = a.at(SlotIndex(slot));
    const auto from_b = b.at(SlotIndex(slot));
    ASSERT_TRUE(from_a && from_b);
    const bool hit = slot / table_.slots_per_block() == 3000 / table_.slots_per_block();
    EXPECT_EQ(from_a->kind == Tag::Kind::unreadable, hit) << slot;
    EXPECT_EQ(*from_b, on_disk(Copy::b, slot));
  }
}

INSTANTIATE_TEST_SUITE_P(LogicalBlocks, TagTableTest, ::testing::Values(512U, 4096U));

}  // namespace
}  // namespace remapfs::store
