// SPDX-License-Identifier: Apache-2.0
#include "unit/store/two_spares.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "store/new_spare.hpp"
#include "store/repair.hpp"
#include "store/spare_superblocks.hpp"
#include "support/random.hpp"

namespace remapfs::store {
namespace {

TEST_F(TwoSpares, OnlyTouchedSparesAreSyncedAndTakeASequence) {
  spare().reset_counters();
  second_->reset_counters();
  commit({{put_on(2, 1, 5)}, {}, {}});
  EXPECT_EQ(spare().counters().syncs, 0U);
  EXPECT_EQ(second_->counters().syncs, 2U);
  EXPECT_EQ(superblock_on_disk(Copy::a).watermark, Sequence(2));
  EXPECT_EQ((*store().find_row(BlockIndex(1)))->sequence, Sequence(2));
  commit({{put_on(1, 2, 5)}, {}, {}});
  EXPECT_EQ((*store().find_row(BlockIndex(2)))->sequence, Sequence(3));
}

TEST_F(TwoSpares, OneThatJoinsServesAtOnceAndAfterAKill) {
  testing::FakeDisk third(ByteCount(4 * kMiB), {}, "third");
  const SpareInfo joining = make_ready(third, 3);
  ASSERT_OK(store().add_spare(joining, "another disk", third));
  commit({{put_on(3, 1, 5), put_on(1, 2, 5)}, {}, {}});
  kill();
  ASSERT_OK(reopen({{1, &spare()}, {2, second_.get()}, {3, &third}}));
  EXPECT_EQ(rows().size(), 2U);
  EXPECT_EQ(store().info().spares.size(), 3U);
  EXPECT_EQ(store().info().spares[2].path, "/more");
  close();
  const auto checked = check_map(map_path(), {{1, &spare()}, {2, second_.get()}, {3, &third}});
  ASSERT_TRUE(checked.has_value());
  EXPECT_TRUE(checked->empty()) << checked->front().text;
}

// All that was moved since the copy may be on the one it does not know, whose commits the others take no part in.
TEST_F(TwoSpares, AMapFromBeforeOneJoinedInTheSameMountIsRefused) {
  for (const bool orderly : {true, false}) {
    SCOPED_TRACE(orderly ? "closed" : "killed");
    const SpareId id = orderly ? 3 : 4;
    testing::FakeDisk more(ByteCount(4 * kMiB), {}, "more");
    const SpareInfo joining = make_ready(more, id);
    const auto copied = save_map();
    ASSERT_OK(store().add_spare(joining, "", more));
    commit({{put_on(id, 7, 1)}, {}, {}});
    if (orderly) {
      close();
    } else {
      kill();
    }
    const auto latest = save_map();
    restore_map(copied);
    const auto before = save_spare();
    const auto opened = try_open_both();
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::stale);
    EXPECT_NE(opened.error().message.find(fmt::format("knows of a spare {}", id)), std::string::npos)
        << opened.error().message;
    const auto checked = check_map(map_path(), {{1, &spare()}, {2, second_.get()}});
    ASSERT_TRUE(checked.has_value());
    EXPECT_TRUE(std::any_of(checked->begin(), checked->end(),
                            [](const Finding& one) { return one.severity == Finding::Severity::error; }));
    const auto repaired = repair_map(map_path(), {{1, &spare()}, {2, second_.get()}});
    ASSERT_TRUE(repaired.has_value());
    EXPECT_NE(repaired->reason.find("an earlier copy of the map"), std::string::npos) << repaired->reason;
    EXPECT_EQ(save_spare(), before);
    restore_map(latest);
    ASSERT_OK(reopen({{1, &spare()}, {2, second_.get()}, {id, &more}}));
    EXPECT_EQ(rows().size(), 1U);
    commit({{erase(7)}, {}, {}});
    ASSERT_OK(store().retire_spare(id));
  }
}

// Killed before the others were told that one has left: they name it still.
TEST_F(TwoSpares, OneThatLeftIsRememberedByAMapThatIsMadeAnew) {
  testing::FakeDisk third(ByteCount(4 * kMiB), {}, "third");
  ASSERT_OK(store().add_spare(make_ready(third, 3), "", third));
  commit({{put_on(1, 1, 5)}, {}, {}});
  ASSERT_OK(store().retire_spare(3));
  kill();
  ASSERT_TRUE(superblock_on_disk(Copy::a).spares.has(3));
  sql("PRAGMA wal_checkpoint(TRUNCATE)");
  damage_root_of("sqlite_autoindex_remaps_1");
  const auto repaired = repair_map(map_path(), {{1, &spare()}, {2, second_.get()}});
  ASSERT_TRUE(repaired.has_value()) << describe(repaired.error());
  EXPECT_FALSE(repaired->kept_as.empty());
  EXPECT_EQ(repaired->reason, "");
  ASSERT_OK(try_open_both());
  EXPECT_FALSE(superblock_on_disk(Copy::a).spares.has(3));
}

// Every superblock names the primary, for a recovery without the map.
TEST_F(TwoSpares, AnotherPrimaryIsNamedByEverySuperblock) {
  commit({{put_on(2, 1, 5)}, {}, {}});
  MapTransaction transaction;
  transaction.primary = PrimaryRecord{"/dev/new", "{\"size\":1}"};
  ASSERT_TRUE(store().commit(transaction).has_value());
  const auto named = [&](BlockDevice& device) {
    const auto copies = read_superblocks(device);
    EXPECT_TRUE(copies.agree());
    return copies[Copy::a]->primary_identity;
  };
  EXPECT_EQ(store().info().primary_path, "/dev/new");
  EXPECT_EQ(named(spare()), "{\"size\":1}");
  EXPECT_EQ(named(*second_), "{\"size\":1}");
  kill();
  open_both();
  EXPECT_EQ(store().info().primary_path, "/dev/new");
  EXPECT_EQ(store().info().primary_identity, "{\"size\":1}");
  EXPECT_EQ(store().info().primary_stamp, "");
  EXPECT_EQ(rows().size(), 1U);
  close();
  const auto checked = check_map(map_path(), {{1, &spare()}, {2, second_.get()}});
  ASSERT_TRUE(checked.has_value());
  EXPECT_TRUE(checked->empty()) << checked->front().text;
}

// The map says it first. Power goes at each write and sync of the superblocks in turn: the next mount writes them
// again, unless it went before the map said so.
TEST_F(TwoSpares, PowerLossWhileThePrimaryChanges) {
  unsigned losses = 0;
  std::string named = store().info().primary_identity;
  for (std::uint64_t n = 1;; ++n) {
    spare().cut_power_after(n);
    MapTransaction transaction;
    transaction.primary = PrimaryRecord{"/dev/new", "new " + std::to_string(n)};
    const auto committed = store().commit(transaction);
    if (!spare().power_is_off()) break;
    ASSERT_FALSE(committed);
    if (committed.error().error.code == Errc::commit_unknown) {
      ++losses;
      named = transaction.primary->identity;
    }
    kill();
    spare().crash_all_lost();
    open_both();
    EXPECT_EQ(store().info().primary_identity, named) << n;
    for (testing::FakeDisk* device : {&spare(), second_.get()}) {
      const auto copies = read_superblocks(*device);
      EXPECT_TRUE(copies.agree()) << n;
      EXPECT_EQ(copies[Copy::a]->primary_identity, named) << n;
    }
  }
  EXPECT_GE(losses, 3U);
}

TEST_F(TwoSpares, WhatIsNotReadyDoesNotJoin) {
  testing::FakeDisk third(ByteCount(4 * kMiB), {}, "third");
  const SpareInfo good = make_ready(third, 3);
  const auto refused = [&](const SpareInfo& wrong) {
    const auto added = store().add_spare(wrong, "", third);
    return !added && (added.error().code == Errc::invalid || added.error().code == Errc::foreign ||
                      added.error().code == Errc::corrupt);
  };
  SpareInfo wrong = good;
  wrong.id = 2;
  EXPECT_TRUE(refused(wrong)) << "a number that is taken";
  wrong.id = 4;
  EXPECT_TRUE(refused(wrong)) << "another number than its superblock's";
  wrong = good;
  wrong.slots -= 1;
  EXPECT_TRUE(refused(wrong));
  wrong = good;
  wrong.uuid = "not a uuid";
  EXPECT_TRUE(refused(wrong));
  Superblock used = *read_superblocks(third)[Copy::a];
  used.watermark = Sequence(1);
  EXPECT_TRUE(write_superblocks(third, used)->all());
  EXPECT_TRUE(refused(good)) << "in use";
  used.watermark = Sequence(0);
  used.volume.bytes[0] ^= std::byte{1};
  EXPECT_TRUE(write_superblocks(third, used)->all());
  EXPECT_TRUE(refused(good)) << "of another volume";
  wipe_superblocks(third, used.layout);
  EXPECT_TRUE(refused(good)) << "nothing of ours";
  EXPECT_EQ(store().info().spares.size(), 2U);
  commit({{put_on(2, 1, 5)}, {}, {}});
  kill();
  open_both();
}

TEST_F(TwoSpares, OneThatIsRetiredLeavesForGood) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 5)}, {{1, SlotIndex(9)}}, {}});
  EXPECT_EQ(store().retire_spare(1).error().code, Errc::invalid) << "a block lives there";
  commit({{move_over(1, {1, SlotIndex(5)}, {2, SlotIndex(6)})}, {}, {}});
  ASSERT_OK(store().retire_spare(1));
  store().wipe_spare(spare());
  EXPECT_FALSE(read_superblocks(spare())[Copy::a].has_value());
  EXPECT_FALSE(read_superblocks(spare())[Copy::b].has_value());
  ASSERT_EQ(store().info().spares.size(), 1U);
  commit({{put_on(2, 3, 7)}, {}, {}});
  EXPECT_EQ(store().retire_spare(1).error().code, Errc::invalid);
  EXPECT_EQ(store().retire_spare(2).error().code, Errc::invalid) << "the only one";
  kill();
  ASSERT_OK(reopen({{2, second_.get()}}));
  EXPECT_EQ(rows().size(), 3U);
  // Its number is not used again.
  testing::FakeDisk again(ByteCount(4 * kMiB), {}, "again");
  EXPECT_EQ(store().add_spare(make_ready(again, 1), "", again).error().code, Errc::invalid);
  ASSERT_OK(store().add_spare(make_ready(again, 3), "", again));
  commit({{put_on(3, 4, 0)}, {}, {}});
  close();
  const auto checked = check_map(map_path(), {{2, second_.get()}, {3, &again}});
  ASSERT_TRUE(checked.has_value());
  EXPECT_TRUE(checked->empty()) << checked->front().text;
}

TEST_F(TwoSpares, NeitherJoinsNorLeavesAMapThatIsOnlyRead) {
  close();
  ASSERT_OK(reopen({{1, &spare()}, {2, second_.get()}}, {.read_only = true}));
  testing::FakeDisk third(ByteCount(4 * kMiB), {}, "third");
  EXPECT_EQ(store().add_spare(make_ready(third, 3), "", third).error().code, Errc::read_only);
  EXPECT_EQ(store().retire_spare(2).error().code, Errc::read_only);
}

TEST_F(TwoSpares, SameSlotNumberOnBothIsNoConflict) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 5)}, {}, {}});
  kill();
  open_both();
  EXPECT_EQ(rows().size(), 2U);
}

TEST_F(TwoSpares, BlockMovesFromOneToTheOtherWhateverPowerLossComesBetween) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  commit({{put_on(1, 1, 0)}, {}, {}});
  SlotAddress at{1, SlotIndex(0)};
  int moved = 0;
  for (std::uint64_t round = 1; round < 60; ++round) {
    SCOPED_TRACE(round);
    const SlotAddress to{static_cast<SpareId>(3 - at.spare), SlotIndex(round)};
    if (random.one_in(2)) (random.one_in(2) ? spare() : *second_).cut_power_after(random.between(1, 8));
    const bool committed = store().commit({{move_over(1, at, to)}, {}, {}}).has_value();
    spare().cut_power_after(0);
    second_->cut_power_after(0);
    kill();
    spare().crash(random());
    second_->crash(random());
    ASSERT_OK(try_open_both());
    ASSERT_EQ(rows().size(), 1U);
    const SlotAddress now = rows().at(BlockIndex(1)).where;
    ASSERT_TRUE(committed ? now == to : now == to || now == at);
    moved += now == to;
    at = now;
  }
  EXPECT_GT(moved, 20);
  close();
  const auto found = check_map(map_path(), {{1, &spare()}, {2, second_.get()}});
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty());
}

TEST_F(TwoSpares, FailedSyncNamesItsSpareAndTheOtherOnesTagIsTakenBack) {
  second_->fail_syncs(1);
  const auto failed = store().commit({{put_on(1, 1, 5), put_on(2, 2, 5)}, {}, {}});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().sync_failed, SpareId{2});
  commit({{put_on(1, 3, 6)}, {}, {}});
  EXPECT_EQ(tag_on_disk(Copy::a, 5).kind, Tag::Kind::cleared);
  close();
  const auto found = check_map(map_path(), {{1, &spare()}, {2, second_.get()}});
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty());
}

// A commit that takes a block off a spare writes to it and syncs it after the rows are durable: what cannot be done
// then is found out before, and nothing has changed.
TEST_F(TwoSpares, SpareThatCannotBeSyncedIsFoundOutBeforeItsBlockLeaves) {
  commit({{put_on(2, 1, 5)}, {}, {}});
  MapChange leaves;
  leaves.kind = MapChange::Kind::erase;
  leaves.block = BlockIndex(1);
  leaves.vacated = SlotAddress{2, SlotIndex(5)};
  second_->fail_syncs(1);
  const auto unsynced = store().commit({{leaves}, {}, {}});
  ASSERT_FALSE(unsynced.has_value());
  EXPECT_EQ(unsynced.error().sync_failed, SpareId{2});
  EXPECT_NE(unsynced.error().error.code, Errc::commit_unknown);
  second_->set_outage(testing::Outage::read_only);
  const auto unwritten = store().commit({{leaves}, {}, {}});
  ASSERT_FALSE(unwritten.has_value());
  EXPECT_EQ(unwritten.error().spare, SpareId{2});
  EXPECT_NE(unwritten.error().error.code, Errc::commit_unknown);
  MapTransaction replaced;
  replaced.primary = PrimaryRecord{"/dev/new", "{\"size\":1}"};
  const auto unnamed = store().commit(replaced);
  ASSERT_FALSE(unnamed.has_value());
  EXPECT_NE(unnamed.error().error.code, Errc::commit_unknown);
  EXPECT_NE(store().info().primary_path, "/dev/new");
  second_->set_outage(testing::Outage::none);
  EXPECT_TRUE(*store().find_row(BlockIndex(1)));
  commit({{leaves}, {}, {}});
  EXPECT_FALSE(*store().find_row(BlockIndex(1)));
  kill();
  open_both();
  EXPECT_TRUE(rows().empty());
}

TEST_F(TwoSpares, OneMissingIsSaidSoAndItsRowsAreStillLoaded) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 5)}, {}, {}});
  close();
  auto store = SqliteMapStore::open(map_path(), {.read_only = true, .degraded = true});
  ASSERT_OK(store);
  ASSERT_OK((*store)->attach_spare(2, *second_));
  std::size_t count = 0;
  ASSERT_OK((*store)->load([&](std::span<const RemapRow> rows) -> Result<void> {
    count += rows.size();
    return {};
  }));
  EXPECT_EQ(count, 2U);
  EXPECT_TRUE((*store)->info().spares[0].missing);
  EXPECT_FALSE((*store)->info().spares[1].missing);
}

TEST_F(TwoSpares, SparesInEachOthersPlaceAreForeign) {
  close();
  auto store = SqliteMapStore::open(map_path(), {});
  ASSERT_OK(store);
  const auto refused = (*store)->attach_spare(1, *second_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::foreign);
  EXPECT_EQ((*store)->attach_spare(3, *second_).error().code, Errc::not_found);
}

// Whoever has an earlier map must not take the spare for one that nobody ever used.
TEST_F(TwoSpares, WhatWasEverPutOnASpareIsSeen) {
  const auto unused = [&] {
    const auto answer = is_never_used(*second_, *read_superblocks(*second_)[Copy::a]);
    EXPECT_TRUE(answer.has_value());
    return answer && *answer;
  };
  EXPECT_FALSE(unused()) << "it has been mounted";
  testing::FakeDisk third(ByteCount(4 * kMiB), {}, "third");
  const SpareInfo joining = make_ready(third, 3);
  const auto third_unused = [&] { return is_never_used(third, *read_superblocks(third)[Copy::a]); };
  EXPECT_TRUE(*third_unused());
  ASSERT_OK(store().add_spare(joining, "", third));
  EXPECT_TRUE(*third_unused());
  // A commit that is cut off before the superblocks say so.
  third.fail_syncs(1);
  EXPECT_FALSE(store().commit({{put_on(3, 7, 1)}, {}, {}}).has_value());
  const Superblock superblock = *read_superblocks(third)[Copy::a];
  EXPECT_EQ(superblock.watermark, Sequence(0));
  EXPECT_FALSE(*third_unused());
  third.set_outage(testing::Outage::gone);
  EXPECT_FALSE(is_never_used(third, superblock).has_value());
}

}  // namespace
}  // namespace remapfs::store
