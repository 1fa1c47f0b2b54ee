// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "support/random.hpp"
#include "unit/store/store_fixture.hpp"

// What a crash, a power loss or a failing device leaves in the middle of a commit, and what the next load makes of it.

namespace remapfs::store {
namespace {

class Crash : public StoreTest {
 protected:
  // The rows as the next load has to find them, ignoring sequence numbers.
  static bool same_rows(const Rows& l, const Rows& r) {
    return std::equal(l.begin(), l.end(), r.begin(), r.end(),
                      [](const auto& a, const auto& b) { return same_content(a.second, b.second); });
  }
  static Rows applied(Rows rows, const MapTransaction& transaction) {
    for (const MapChange& change : transaction.changes) {
      if (change.kind == MapChange::Kind::erase) {
        rows.erase(change.block);
        continue;
      }
      RemapRow row = change.row;
      if (const auto old = rows.find(change.block); old != rows.end()) row.error_count += old->second.error_count;
      rows[change.block] = row;
    }
    return rows;
  }
  [[nodiscard]] static bool owned(const Rows& rows, std::uint64_t slot) {
    return std::any_of(rows.begin(), rows.end(), [&](const auto& entry) {
      return entry.second.state == EntryState::remapped && entry.second.where.slot.value() == slot;
    });
  }
  // A transaction that fits the rows: every kind of change a volume makes.
  MapTransaction random_transaction(testing::Random& random, const Rows& rows) const {
    constexpr std::uint64_t kBlocks = 40;
    constexpr std::uint64_t kSlots = 60;
    MapTransaction transaction;
    std::set<std::uint64_t> blocks;
    std::set<std::uint64_t> slots;
    const auto free_slot = [&] {
      std::uint64_t slot = random.below(kSlots);
      while (owned(rows, slot) || slots.contains(slot)) slot = random.below(kSlots);
      slots.insert(slot);
      return slot;
    };
    for (std::uint64_t i = random.between(1, 6); i > 0; --i) {
      const std::uint64_t block = random.below(kBlocks);
      if (!blocks.insert(block).second) continue;
      const auto old = rows.find(BlockIndex(block));
      const bool has_slot = old != rows.end() && old->second.state == EntryState::remapped;
      MapChange change = erase(block);
      if (!has_slot) {
        change = random.one_in(4) ? put_lost(block, random() & 0x7F) : put_remapped(block, free_slot());
      } else if (random.one_in(3)) {
        change = move(block, old->second.where.slot.value(), free_slot());
      } else if (random.one_in(2)) {
        change = put_remapped(block, old->second.where.slot.value());
        change.row.valid_mask = random() & full_mask();
      }
      transaction.changes.push_back(change);
    }
    if (random.one_in(4)) transaction.events.push_back({"test", std::nullopt, "event"});
    return transaction;
  }
  [[nodiscard]] SectorMask full_mask() const { return BlockGeometry(block_size_).full_mask(); }

  void expect_nothing_refused() {
    for (const Finding& finding : findings()) {
      EXPECT_NE(finding.severity, Finding::Severity::error) << finding.subject << ": " << finding.text;
    }
  }
};

TEST_F(Crash, TagsAreDurableBeforeRowsAndWatermarkAndClearingAfter) {
  create();
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 2)}, {}, {}});
  std::vector<std::string> order;
  SQLite::Database reader(map_path(), SQLite::OPEN_READONLY);
  const auto slot_of = [&](int block) {
    SQLite::Statement select(reader, "SELECT slot FROM remaps WHERE block = ?");
    select.bind(1, block);
    return select.executeStep() ? select.getColumn(0).getInt() : -1;
  };
  spare().set_before([&](const testing::FakeOperation& operation) {
    using Kind = testing::FakeOperation::Kind;
    if (operation.kind == Kind::read) return;
    std::string what = "data";
    const std::uint64_t at = operation.range.begin.value();
    if (at == layout().superblock[0].value() || at == layout().superblock[1].value()) what = "superblock";
    if (at >= layout().tags[0].value() && at < layout().first_slot.value()) what = "tags A";
    if (at >= layout().tags[1].value() && at < layout().superblock[1].value()) what = "tags B";
    if (operation.kind == Kind::sync) what = "sync";
    order.push_back(what + (slot_of(1) == 9 ? ", new rows" : ", old rows"));
  });
  commit({{move(1, 1, 9), erase(2)}, {}, {}});
  spare().set_before({});
  EXPECT_EQ(order, (std::vector<std::string>{"tags A, old rows", "tags B, old rows", "sync, old rows",
                                             "tags A, new rows", "tags B, new rows", "superblock, new rows",
                                             "superblock, new rows", "sync, new rows"}));
}

TEST_F(Crash, PowerLossAtAnyStepLeavesTheStateBeforeOrAfterTheCommit) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  create(4096, 1000, random.one_in(2) ? 512 : 4096, 4 * kMiB);
  open();
  Rows expected;
  int before = 0;
  int after = 0;
  for (int round = 0; round < 120; ++round) {
    SCOPED_TRACE(round);
    const MapTransaction transaction = random_transaction(random, expected);
    const Rows next = applied(expected, transaction);
    if (!random.one_in(4)) spare().cut_power_after(random.between(1, 10));
    const bool committed = store().commit(transaction).has_value();
    const bool cut = spare().power_is_off();
    ASSERT_TRUE(committed || cut);
    if (committed) expected = next;
    if (!cut && !random.one_in(3)) {
      spare().cut_power_after(0);
      continue;  // several commits in one life
    }
    ASSERT_NO_FATAL_FAILURE(crash(random()));
    ASSERT_NO_FATAL_FAILURE(expect_nothing_refused());
    ASSERT_NO_FATAL_FAILURE(open());
    if (!committed && same_rows(rows(), next) && !same_rows(expected, next)) {
      expected = next;
      ++after;
    } else {
      ++before;
    }
    ASSERT_TRUE(same_rows(rows(), expected));
    kill();
    EXPECT_TRUE(findings().empty()) << "the load mends everything";
    if (random.one_in(3)) {
      open();
      close();
      EXPECT_TRUE(findings().empty());
    }
    ASSERT_NO_FATAL_FAILURE(open());
  }
  EXPECT_GT(before, 10);
  EXPECT_GT(after, 10);
}

TEST_F(Crash, PowerLossDuringLoadChangesNothingThatCounts) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  create(4096, 1000, 512, 4 * kMiB);
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 2)}, {}, {}});
  MapChange in_place = put_remapped(1, 1);
  in_place.row.valid_mask = 1;
  // Tags of a commit that never happened, and a watermark to be caught up with, in turn.
  for (std::uint64_t cut = 1; cut < 40; ++cut) {
    SCOPED_TRACE(cut);
    spare().cut_power_after(random.between(1, 9));
    const bool committed = store().commit({{in_place, move(2, 2 + (cut - 1) * 3, 2 + cut * 3)}, {}, {}}).has_value();
    crash(random());
    for (int i = 0; i < 3; ++i) {
      spare().cut_power_after(random.between(1, 10));
      const auto loaded = try_open();
      const bool off = spare().power_is_off();
      ASSERT_TRUE(loaded.has_value() || off) << describe(loaded.error());
      crash(random());
      ASSERT_NO_FATAL_FAILURE(expect_nothing_refused());
    }
    spare().cut_power_after(0);
    ASSERT_NO_FATAL_FAILURE(open());
    ASSERT_EQ(rows().size(), 2U);
    // Put back to where the next round starts from.
    const std::uint64_t at = rows().at(BlockIndex(2)).where.slot.value();
    ASSERT_TRUE(!committed || at == 2 + cut * 3);
    if (at != 2 + cut * 3) commit({{move(2, at, 2 + cut * 3)}, {}, {}});
    commit({{put_remapped(1, 1)}, {}, {}});
  }
}

TEST_F(Crash, EveryDeviceOperationThatFailsOnceLeavesMapAndTagsInStep) {
  for (const auto& [code, finishes] :
       {std::pair(Errc::media, false), {Errc::media, true}, {Errc::device_other, false}, {Errc::device_other, true}}) {
    bool failed = true;
    for (std::uint64_t n = 1; failed; ++n) {
      SCOPED_TRACE(n);
      std::filesystem::remove(map_path());
      ASSERT_NO_FATAL_FAILURE(create());
      ASSERT_NO_FATAL_FAILURE(open());
      ASSERT_NO_FATAL_FAILURE(commit({{put_remapped(1, 1), put_remapped(2, 2)}, {}, {}}));
      const Rows before{{BlockIndex(1), put_remapped(1, 1).row}, {BlockIndex(2), put_remapped(2, 2).row}};
      const MapTransaction transaction{{move(1, 1, 30), erase(2), put_remapped(3, 3)}, {}, {}};
      spare().fail_nth(n, {code, 5, {}});
      const auto report = store().commit(transaction);
      failed = spare().nth_failed();
      if (!failed) spare().fail_nth(0);
      Rows expected = report ? applied(before, transaction) : before;
      const bool unfinished = !report && !report.error().unfinished.empty();
      if (unfinished) {
        expected = applied(before, transaction);
        EXPECT_EQ(store().commit({{erase(1)}, {}, {}}).error().error.code, Errc::suspended);
        if (finishes) {
          EXPECT_TRUE(store().finish_commits().left.empty());
        }
      }
      // Whoever is killed now has not finished it.
      if (!unfinished || finishes) {
        // The store goes on, whatever the failed commit has left in the tags.
        ASSERT_NO_FATAL_FAILURE(commit({{put_remapped(4, 40)}, {}, {}}));
        expected[BlockIndex(4)] = put_remapped(4, 40).row;
      }
      kill();
      spare().crash(n);
      ASSERT_NO_FATAL_FAILURE(expect_nothing_refused());
      ASSERT_NO_FATAL_FAILURE(open());
      EXPECT_TRUE(same_rows(rows(), expected));
      close();
      EXPECT_TRUE(findings().empty());
    }
  }
}

TEST_F(Crash, FailedSyncIsNamedAndItsTagsAreWrittenAgain) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  MapChange in_place = put_remapped(1, 1);
  in_place.row.valid_mask = 3;
  spare().fail_syncs(1);
  const auto failed = store().commit({{in_place, put_remapped(2, 2)}, {}, {}});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().error.code, Errc::media);
  EXPECT_EQ(failed.error().sync_failed, SpareId{1});
  EXPECT_EQ(tag_on_disk(Copy::a, 1).valid_mask, 3U) << "the test wants a tag of the failed commit";
  // The next commit has the same sequence number; slot 1 must not look as if it belonged to it.
  commit({{put_remapped(3, 3)}, {}, {}});
  for (const Copy copy : kCopies) {
    EXPECT_EQ(tag_on_disk(copy, 1).valid_mask, full());
    EXPECT_EQ(tag_on_disk(copy, 2).kind, Tag::Kind::cleared);
  }
  crash(1);
  open();
  EXPECT_EQ(rows().size(), 2U);
  EXPECT_EQ(rows().at(BlockIndex(1)).valid_mask, full());
}

TEST_F(Crash, DoubtfulTagsArePutRightByAnOrderlyClose) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  MapChange in_place = put_remapped(1, 1);
  in_place.row.valid_mask = 3;
  spare().fail_syncs(1);
  ASSERT_FALSE(store().commit({{in_place, put_remapped(2, 2)}, {}, {}}).has_value());
  close();
  EXPECT_TRUE(findings().empty());
  open({.read_only = true});
  EXPECT_TRUE(store().info().clean);
}

TEST_F(Crash, WatermarkThatReachesNoSuperblockIsWrittenLater) {
  create();
  open();
  const auto sector = [&](int copy) { return layout().superblock[copy].value() / kSectorSize; };
  spare().add_bad_sectors(sector(0), 8, testing::FaultRule::On::write);
  commit({{put_remapped(1, 1)}, {}, {}});  // one copy is enough
  spare().add_bad_sectors(sector(1), 8, testing::FaultRule::On::write);
  const auto failed = store().commit({{move(1, 1, 7), put_remapped(2, 2)}, {}, {}});
  ASSERT_FALSE(failed.has_value());
  ASSERT_EQ(failed.error().unfinished.size(), 1U);
  EXPECT_EQ(failed.error().unfinished[0].spare, SpareId{1});
  EXPECT_EQ(failed.error().spare, SpareId{1});
  EXPECT_EQ(store().find_row(BlockIndex(1))->value().where.slot, SlotIndex(7));
  EXPECT_TRUE(store().find_row(BlockIndex(2))->has_value());
  // Others go on, and nothing else is built on that spare.
  commit({{}, {}, {{"x", std::nullopt, ""}}});
  const auto refused = store().commit({{put_remapped(3, 3)}, {}, {}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, Errc::suspended);
  EXPECT_EQ(refused.error().spare, SpareId{1});
  EXPECT_TRUE(refused.error().unfinished.empty());
  EXPECT_EQ(store().finish_commits().left.size(), 1U);
  EXPECT_EQ(superblock_on_disk(Copy::b).watermark, Sequence(2)) << "the test wants it to be behind";
  spare().clear_faults();
  ASSERT_TRUE(store().finish_commits().left.empty());
  EXPECT_EQ(superblock_on_disk(Copy::b).watermark, Sequence(3));
  EXPECT_EQ(tag_on_disk(Copy::a, 1).kind, Tag::Kind::cleared);
  EXPECT_TRUE(store().finish_commits().left.empty()) << "nothing to do";
  commit({{put_remapped(3, 1)}, {}, {}});
  close();
  EXPECT_TRUE(findings().empty());
  open({.read_only = true});
  EXPECT_TRUE(store().info().clean);
}

TEST_F(Crash, CloseWithACommitThatIsNotFinishedIsNotClean) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  for (const int copy : {0, 1}) {
    spare().add_bad_sectors(layout().superblock[copy].value() / kSectorSize, 8, testing::FaultRule::On::write);
  }
  EXPECT_TRUE(store().commit({{put_remapped(2, 2)}, {}, {}}).error().unfinished.size() == 1);
  close();
  spare().clear_faults();
  open({.read_only = true});
  EXPECT_FALSE(store().info().clean);
  EXPECT_EQ(rows().size(), 2U);
  close();
  open();
  close();
  EXPECT_TRUE(findings().empty());
}

TEST_F(Crash, LostWatermarkSyncIsOneCommitBehindAndAccepted) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  // write A, write B, sync, [rows], superblock, superblock, sync
  spare().cut_power_after(6);
  ASSERT_TRUE(store().commit({{put_remapped(2, 2)}, {}, {}}).error().unfinished.size() == 1);
  kill();
  spare().crash_all_lost();
  EXPECT_EQ(superblock_on_disk(Copy::a).watermark, Sequence(2));
  open();
  EXPECT_EQ(rows().size(), 2U);
}

}  // namespace
}  // namespace remapfs::store
