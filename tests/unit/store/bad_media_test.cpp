// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <set>

#include "store/map_reader.hpp"
#include "support/random.hpp"
#include "unit/store/store_fixture.hpp"

// Spares whose own tag and superblock sectors go bad.

namespace remapfs::store {
namespace {

using testing::FaultRule;

class BadMedia : public StoreTest {
 protected:
  testing::FaultId bad_tag(Copy copy, std::uint64_t slot, FaultRule::On on) {
    return spare().add_bad_sectors(tag_sector(copy, slot), 1, on);
  }
  [[nodiscard]] std::uint64_t events_of_kind(const std::string& kind) const {
    auto reader = MapReader::open(map_path());
    EXPECT_TRUE(reader.has_value());
    auto events = reader->newest_events(1000);
    EXPECT_TRUE(events.has_value());
    return static_cast<std::uint64_t>(std::count_if(
        events->begin(), events->end(), [&](const ListedEvent& event) { return event.event.kind == kind; }));
  }
};

TEST_F(BadMedia, OneFailingTagCopyIsToleratedReportedAndSurvivesReload) {
  for (const Copy copy : kCopies) {
    SCOPED_TRACE(letter(copy));
    std::filesystem::remove(map_path());
    create();
    open();
    bad_tag(copy, 1, FaultRule::On::both);
    commit({{put_remapped(1, 1)}, {}, {}});
    commit({{put_remapped(2, 2)}, {}, {}});
    EXPECT_EQ(events_of_kind("spare-copy-failed"), 1U);
    for (const bool orderly : {true, false, true}) {
      orderly ? close() : kill();
      ASSERT_NO_FATAL_FAILURE(open());
      EXPECT_EQ(rows().size(), 2U);
      EXPECT_FALSE(store().info().clean) << "copies that differ must be read by the next load";
    }
    commit({{erase(1), move(2, 2, 3)}, {}, {}});
    kill();
    ASSERT_NO_FATAL_FAILURE(open());
    EXPECT_EQ(rows().size(), 1U);
    // The sector works again: the next orderly life makes both copies good.
    kill();
    spare().clear_faults();
    open();
    close();
    EXPECT_TRUE(findings().empty());
    open({.read_only = true});
    EXPECT_TRUE(store().info().clean);
    store_.reset();
  }
}

TEST_F(BadMedia, SlotWhoseTagFailsInBothCopiesIsReportedAndNothingChanges) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  bad_tag(Copy::a, 20, FaultRule::On::write);
  bad_tag(Copy::b, 20, FaultRule::On::write);
  const auto failed = store().commit({{put_remapped(2, 20), put_remapped(3, 40)}, {}, {}});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().error.code, Errc::media);
  EXPECT_EQ(failed.error().bad_slots, (std::vector<SlotAddress>{{1, SlotIndex(20)}}));
  EXPECT_FALSE(failed.error().sync_failed.has_value());
  commit({{put_remapped(2, 41), put_remapped(3, 40)}, {{1, SlotIndex(20)}}, {}});
  kill();
  open();
  EXPECT_EQ(rows().size(), 3U);
  EXPECT_TRUE(std::ranges::count(store().info().spares[0].retired, SlotIndex(20)) == 1);
}

TEST_F(BadMedia, TagThatCannotBeClearedIsReportedAndTheSlotIsNotOfferedAgain) {
  create();
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 20)}, {}, {}});
  bad_tag(Copy::a, 20, FaultRule::On::write);
  bad_tag(Copy::b, 20, FaultRule::On::write);
  const auto report = store().commit({{erase(2)}, {}, {}});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->uncleared, (std::vector<SlotAddress>{{1, SlotIndex(20)}}));
  close();
  open();
  EXPECT_EQ(rows().size(), 1U);
  EXPECT_EQ(std::ranges::count(store().info().spares[0].retired, SlotIndex(20)), 1);
}

TEST_F(BadMedia, TagOfALiveBlockThatCanBeNeitherChangedNorRestoredDoesNotStopOthers) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  MapChange in_place = put_remapped(1, 1);
  in_place.row.valid_mask = 3;
  // Copy A takes the new tag and then dies; copy B never takes it; the sync fails, so the tag belongs to no commit.
  bad_tag(Copy::b, 1, FaultRule::On::both);
  spare().fail_syncs(1);
  ASSERT_FALSE(store().commit({{in_place}, {}, {}}).has_value());
  bad_tag(Copy::a, 1, FaultRule::On::write);
  const auto other = store().commit({{put_remapped(2, 40)}, {}, {}});
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->retired, (std::vector<SlotAddress>{{1, SlotIndex(1)}}));
  commit({{put_remapped(3, 41)}, {}, {}});
  EXPECT_EQ(tag_on_disk(Copy::a, 1).valid_mask, 3U) << "the test wants a tag that is not as the row says";
  kill();
  open();
  EXPECT_EQ(rows().size(), 3U);
  EXPECT_EQ(rows().at(BlockIndex(1)).valid_mask, full());
  EXPECT_EQ(std::ranges::count(store().info().spares[0].retired, SlotIndex(1)), 0) << "a block lives there";
  const auto moved = store().commit({{move(1, 1, 42)}, {}, {}});
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->uncleared, (std::vector<SlotAddress>{{1, SlotIndex(1)}}));
  close();
  open();
  EXPECT_EQ(rows().at(BlockIndex(1)).where.slot, SlotIndex(42));
  EXPECT_EQ(std::ranges::count(store().info().spares[0].retired, SlotIndex(1)), 1);
}

TEST_F(BadMedia, UnreadableTagsOfALiveBlockAreAcceptedAndThoseOfFreeSlotsRetireThem) {
  create();
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 40)}, {}, {}});
  close();
  bad_tag(Copy::a, 1, FaultRule::On::both);
  bad_tag(Copy::b, 1, FaultRule::On::both);
  for (const bool read_only : {true, false, false}) {
    ASSERT_NO_FATAL_FAILURE(open({.read_only = read_only}));
    EXPECT_EQ(rows().size(), 2U);
    std::vector<SlotIndex> rest{SlotIndex(0)};
    for (std::uint64_t slot = 2; slot < 12; ++slot) rest.emplace_back(slot);
    EXPECT_EQ(store().info().spares[0].retired, rest);
    close();
  }
  // A sector that only needs to be written again is cured by the load.
  spare().clear_faults();
  for (const Copy copy : kCopies) {
    const ByteOffset at(tag_sector(copy, 1) * kSectorSize);
    spare().add_fault(
        {.range = {at, at + kSectorSize}, .on = FaultRule::On::read, .lasts = FaultRule::Lasts::until_written});
  }
  open();
  close();
  EXPECT_TRUE(findings().empty());
  open();
  EXPECT_EQ(rows().size(), 2U);
  EXPECT_TRUE(store().info().spares[0].retired.empty());
}

TEST_F(BadMedia, DeviceThatVanishesFailsTheCommitWithoutAChange) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  spare().set_outage(testing::Outage::gone);
  const auto failed = store().commit({{put_remapped(2, 2)}, {}, {}});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().error.code, Errc::device_gone);
  EXPECT_TRUE(failed.error().bad_slots.empty());
  // Rows without a slot need no spare.
  commit({{put_lost(3, 0)}, {}, {}});
  spare().set_outage(testing::Outage::none);
  commit({{put_remapped(2, 2)}, {}, {}});
  close();
  EXPECT_TRUE(findings().empty());
}

TEST_F(BadMedia, LoadNeverRefusesWhateverSectorsFailAndWheneverPowerGoes) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  create(4096, 1000, random.one_in(3) ? 4096 : 512, 4 * kMiB);
  open();
  constexpr std::uint64_t kSlots = 120;
  Rows expected;
  std::set<SlotIndex> avoid;
  const auto slot_is_free = [&](std::uint64_t slot) {
    return !avoid.contains(SlotIndex(slot)) && std::none_of(expected.begin(), expected.end(), [&](const auto& row) {
      return row.second.state == EntryState::remapped && row.second.where.slot.value() == slot;
    });
  };
  int committed_count = 0;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    if (random.one_in(3)) {
      const Copy copy = random.one_in(2) ? Copy::a : Copy::b;
      const ByteOffset at(tag_sector(copy, random.below(kSlots)) * kSectorSize);
      const auto on = static_cast<FaultRule::On>(random.below(3));
      const bool heals = on == FaultRule::On::read && random.one_in(2);
      spare().add_fault({.range = {at, at + kSectorSize},
                         .on = on,
                         .lasts = heals ? FaultRule::Lasts::until_written : FaultRule::Lasts::times,
                         .times = random.between(1, 12)});
    }
    if (random.one_in(15)) spare().fail_syncs(1);
    // One change: new, in place, moved or erased.
    const std::uint64_t block = random.below(30);
    std::uint64_t slot = random.below(kSlots);
    if (avoid.size() > kSlots / 2) {
      // The drive has been given new sectors.
      spare().clear_faults();
      spare().fail_syncs(0);
      ASSERT_OK(store().close());
      ASSERT_OK(try_open());
      const std::vector<SlotIndex>& retired = store().info().spares[0].retired;
      avoid = {retired.begin(), retired.end()};
      ASSERT_LT(avoid.size(), kSlots / 2);
    }
    while (!slot_is_free(slot)) slot = random.below(kSlots);
    const auto old = expected.find(BlockIndex(block));
    MapChange change = put_remapped(block, slot);
    if (old != expected.end()) {
      const std::uint64_t at = old->second.where.slot.value();
      const std::uint64_t kind = random.below(3);
      if (kind == 0) change = erase(block);
      if (kind == 1) change = move(block, at, slot);
      if (kind == 2) {
        change = put_remapped(block, at);
        change.row.valid_mask = random() & 0xFF;
      }
    }
    Rows next = expected;
    if (change.kind == MapChange::Kind::erase) {
      next.erase(change.block);
    } else {
      RemapRow row = change.row;
      if (old != expected.end()) row.error_count += old->second.error_count;
      next[change.block] = row;
    }
    if (random.one_in(6)) spare().cut_power_after(random.between(1, 8));
    const auto report = store().commit({{change}, {}, {}});
    bool unknown = false;
    if (report) {
      ++committed_count;
      expected = next;
      for (const SlotAddress at : report->uncleared) avoid.insert(at.slot);
    } else {
      unknown = report.error().error.code == Errc::commit_unknown;
      if (!report.error().unfinished.empty()) {
        expected = next;
        const FinishedCommits finished = store().finish_commits();
        // Where that fails too the process ends.
        unknown = !finished.left.empty();
        for (const SlotAddress at : finished.report.uncleared) avoid.insert(at.slot);
      }
      for (const SlotAddress at : report.error().bad_slots) avoid.insert(at.slot);
    }
    if (!unknown && !spare().power_is_off() && !random.one_in(5)) {
      spare().cut_power_after(0);
      continue;
    }
    spare().cut_power_after(0);
    spare().fail_syncs(0);
    if (!unknown && !spare().power_is_off() && random.one_in(2)) {
      ASSERT_OK(store().close());
    }
    crash(random());
    const auto opened = try_open();
    if (!opened && opened.error().code == Errc::media) {
      // A failing sector took the load's own sync or superblock with it: nothing is lost.
      spare().clear_faults();
      ASSERT_OK(try_open());
    } else {
      ASSERT_OK(opened);
    }
    const auto same = [&](const Rows& rows_expected) {
      return std::equal(rows().begin(), rows().end(), rows_expected.begin(), rows_expected.end(),
                        [](const auto& a, const auto& b) { return same_content(a.second, b.second); });
    };
    if (!report && same(next)) expected = next;
    ASSERT_TRUE(same(expected));
    for (const SlotIndex retired : store().info().spares[0].retired) avoid.insert(retired);
  }
  EXPECT_GT(committed_count, 50);
  spare().clear_faults();
  spare().fail_syncs(0);  // one may be left that no round has met
  kill();
  open();
  close();
  EXPECT_TRUE(findings().empty());
}

}  // namespace
}  // namespace remapfs::store
