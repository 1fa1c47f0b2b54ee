// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/volume_rig.hpp"

// A write that failed leaves anything behind: what nobody asked to change must not be served from there.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kSize = 4U << 20U;
constexpr std::uint64_t kBad = 80 * 512;       // block 10
constexpr std::uint64_t kProbed = kSize / 16;  // the first place that is known to work when the volume is opened

FaultRule ruined_by_a_write(std::uint64_t offset) {
  FaultRule rule;
  rule.range = {ByteOffset(offset), ByteOffset(offset + 512)};
  rule.on = FaultRule::On::write;
  rule.lasts = FaultRule::Lasts::until_written;
  return rule;
}

class RuinedByProbe : public ::testing::Test {
 protected:
  RuinedByProbe() {
    rig.primary->poke(ByteOffset(0), pattern(0, kSize, 0));
    rig.remount();
    id = rig.primary->add_fault(ruined_by_a_write(kProbed));
    rig.primary->add_bad_sectors(kBad / 512, 1, FaultRule::On::write);
  }
  void expect_probed() const { EXPECT_EQ(rig.primary->fault_hits(id), 1U) << "the test is about a probe that failed"; }

  VolumeRig rig{RigOptions{}};
  FaultId id = 0;
  std::vector<std::byte> data = pattern(kBad, 4096, 1);
};

TEST_F(RuinedByProbe, BlockIsMovedWithItsBytes) {
  ASSERT_TRUE(rig.write(kBad, data));
  expect_probed();
  const auto row = rig.row(kProbed / 4096);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->state, EntryState::remapped);
  EXPECT_EQ(row->cause, Cause::write_error);
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(*rig.read(kProbed, 4096), pattern(kProbed, 4096, 0));
    EXPECT_EQ(*rig.read(kBad, 4096), data);
    rig.remount();
  }
}

TEST_F(RuinedByProbe, BlockIsLostWhenNoSlotWorks) {
  rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512, 256 * 8, FaultRule::On::write);
  EXPECT_EQ(rig.write(kBad, data).error().code, Errc::no_space);
  expect_probed();
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(rig.read(kProbed, 512).error().code, Errc::lost);
    EXPECT_EQ(*rig.read(kProbed + 512, 3584), pattern(kProbed + 512, 3584, 0));
    EXPECT_EQ(rig.volume->clear_lost(BlockIndex(kProbed / 4096)), Outcome::still_bad) << "junk can be read as well";
    rig.remount();
  }
  ASSERT_EQ(rig.volume->mark_lost(BlockIndex(kProbed / 4096)), Outcome::done);
  EXPECT_EQ(rig.volume->retest(BlockIndex(kProbed / 4096)), Outcome::still_bad) << "still known to be ruined";
  EXPECT_EQ(rig.read(kProbed, 512).error().code, Errc::lost);
}

TEST_F(RuinedByProbe, BlockAnswersNothingWhenTheMapCannotSay) {
  for (int i = 0; i < 4; ++i) rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  EXPECT_FALSE(rig.write(kBad, data));
  expect_probed();
  EXPECT_EQ(rig.read(kProbed, 512).error().code, Errc::failed);
  EXPECT_FALSE(rig.row(kProbed / 4096));
}

TEST_F(RuinedByProbe, UnharmedBlockStays) {
  rig.primary->remove_fault(id);
  rig.primary->add_bad_sectors(kProbed / 512, 1, FaultRule::On::write);
  ASSERT_TRUE(rig.write(kBad, data));
  EXPECT_FALSE(rig.row(kProbed / 4096));
  EXPECT_EQ(*rig.read(kProbed, 4096), pattern(kProbed, 4096, 0));
}

// A write of less than a logical block of the device, which fails there and has no other slot to go to.
struct EdgeCase {
  bool harmless;
  bool on_slot;
};
class RuinedEdges : public ::testing::TestWithParam<EdgeCase> {
 protected:
  static constexpr std::uint64_t kSlots = 2;

  RuinedEdges() {
    rig.primary->poke(ByteOffset(0), pattern(0, kSize, 0));
    rig.remount();
    if (GetParam().on_slot) static_cast<void>(rig.volume->add(BlockIndex(10)));
    rig.spare().add_bad_sectors(VolumeRig::kFirstSlot / 512 + (GetParam().on_slot ? 8 : 0), kSlots * 8,
                                FaultRule::On::write);
  }
  VolumeRig rig{{.slots = kSlots, .logical_block = 4096}};
};

TEST_P(RuinedEdges, NeighboursAreRightOrLost) {
  const auto [harmless, on_slot] = GetParam();
  FaultRule rule = ruined_by_a_write((on_slot ? VolumeRig::kFirstSlot : kBad) + 1024);
  if (harmless) rule.lasts = FaultRule::Lasts::always;
  FakeDisk& disk = on_slot ? rig.spare() : *rig.primary;
  const FaultId id = disk.add_fault(rule);
  // The sector at fault holds a few of the request's bytes, and others.
  EXPECT_FALSE(rig.write(kBad + 700, pattern(kBad + 700, 500, 1)));
  EXPECT_EQ(disk.fault_hits(id), 1U);
  for (int life = 0; life < 2; ++life) {
    const auto ruined = rig.read(kBad + 1024, 512);
    ASSERT_EQ(ruined.has_value(), harmless);
    if (harmless) {
      EXPECT_EQ(*ruined, pattern(kBad + 1024, 512, 0));
    } else {
      EXPECT_EQ(rig.volume->clear_lost(BlockIndex(10)), Outcome::still_bad) << "junk can be read as well";
    }
    EXPECT_EQ(*rig.read(kBad, 512), pattern(kBad, 512, 0));
    EXPECT_EQ(*rig.read(kBad + 1536, 2560), pattern(kBad + 1536, 2560, 0));
    rig.remount();
  }
}

// The same write where the device is found broken, or the map cannot be written.
TEST_P(RuinedEdges, NeighboursAreRightOrAnErrorWhateverBecomesOfTheWrite) {
  const auto [harmless, on_slot] = GetParam();
  for (const bool broken : {false, true}) {
    VolumeRig own{{.slots = 8, .logical_block = 4096}};
    own.primary->poke(ByteOffset(0), pattern(0, kSize, 0));
    own.remount();
    if (on_slot) {
      ASSERT_EQ(own.volume->add(BlockIndex(10)), Outcome::done);
    }
    FakeDisk& disk = on_slot ? own.spare() : *own.primary;
    FaultRule rule = ruined_by_a_write((on_slot ? VolumeRig::kFirstSlot : kBad) + 1024);
    if (harmless) rule.lasts = FaultRule::Lasts::always;
    disk.add_fault(rule);
    const std::uint64_t size = disk.geometry().size.value();
    if (broken) {
      // Nothing else can be written either.
      disk.add_bad_sectors(0, (on_slot ? VolumeRig::kFirstSlot : kBad) / 512, FaultRule::On::write);
      disk.add_bad_sectors((on_slot ? VolumeRig::kFirstSlot : kBad) / 512 + 8,
                           size / 512 - (on_slot ? VolumeRig::kFirstSlot : kBad) / 512 - 8, FaultRule::On::write);
    } else {
      for (int i = 0; i < 2; ++i) own.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
    }
    EXPECT_FALSE(own.write(kBad + 700, pattern(kBad + 700, 500, 1)));
    EXPECT_EQ(own.volume->status().state == VolumeState::suspended, broken);
    ASSERT_TRUE(own.volume->resume());
    const auto now = own.read(kBad + 1024, 512);
    ASSERT_EQ(now.has_value(), harmless) << "broken: " << broken;
    if (harmless) {
      EXPECT_EQ(*now, pattern(kBad + 1024, 512, 0));
    }
  }
}

// The slot of the block cannot be had, but the map can say what is lost.
TEST(RuinedWithoutSpare, NeighboursAreLostInTheMap) {
  VolumeRig rig{{.slots = 8, .logical_block = 4096}};
  rig.primary->poke(ByteOffset(0), pattern(0, kSize, 0));
  rig.remount();
  rig.primary->add_fault(ruined_by_a_write(kBad + 1024));
  rig.store->failures.push_back({Error{Errc::device_gone, ENODEV, {}}, {}, {}, SpareId{1}});
  EXPECT_FALSE(rig.write(kBad + 700, pattern(kBad + 700, 500, 1)));
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(rig.read(kBad + 1024, 512).error().code, Errc::lost) << life;
    EXPECT_EQ(*rig.read(kBad, 512), pattern(kBad, 512, 0));
    static_cast<void>(rig.volume->resume());
    static_cast<void>(rig.volume->flush());
    rig.remount();
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RuinedEdges,
                         ::testing::Values(EdgeCase{false, false}, EdgeCase{false, true}, EdgeCase{true, false},
                                           EdgeCase{true, true}));

}  // namespace
}  // namespace remapfs::testing
