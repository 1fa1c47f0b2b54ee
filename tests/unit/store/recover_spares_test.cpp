// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "store/recover.hpp"
#include "store/spare_superblocks.hpp"
#include "store/surviving_tags.hpp"
#include "support/random.hpp"
#include "unit/store/two_spares.hpp"

// What several spares say together without their map.

namespace remapfs::store {
namespace {

class RecoverSpares : public TwoSpares {
 protected:
  // With these spares. accept_stale: what nothing vouches for as well.
  tl::expected<Recovered, RecoveryFailure> recover(const std::vector<testing::FakeDisk*>& spares,
                                                   bool accept_stale = false) {
    RecoverySpec spec;
    spec.map_path = directory_ / "new.map";
    spec.primary_path = "/primary";
    spec.primary_size = ByteCount(100'000 * 4096);
    spec.accept_stale = accept_stale;
    spec.check_primary = check_primary_;
    for (testing::FakeDisk* spare : spares) {
      spec.spares.push_back({spare, spare == spare_.get() ? "/spare" : "/" + spare->name(), "", {}});
    }
    std::filesystem::remove(spec.map_path);
    return recover_map(spec);
  }
  // Where the blocks of the recovered map are.
  Rows recovered_rows(const std::map<SpareId, BlockDevice*>& spares) {
    map_path_ = directory_ / "new.map";
    EXPECT_TRUE(reopen(spares, {.read_only = true}).has_value());
    return rows_;
  }
  static void expect_doubt(const tl::expected<Recovered, RecoveryFailure>& refused, const std::string& text) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().error.code, Errc::stale) << describe(refused.error().error);
    const auto& doubts = refused.error().doubts;
    EXPECT_TRUE(std::any_of(doubts.begin(), doubts.end(), [&](const auto& d) { return d.find(text) != d.npos; }))
        << text << ", not " << (doubts.empty() ? "no doubt" : doubts.front());
  }

  std::function<Result<void>(const std::string&)> check_primary_;
};

TEST_F(RecoverSpares, BlocksOfAllAreRecovered) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 6)}, {}, {}});
  close();
  const auto recovered = recover({second_.get(), &spare()});
  ASSERT_TRUE(recovered) << describe(recovered.error().error);
  EXPECT_TRUE(recovered->proven);
  const Rows rows = recovered_rows({{1, &spare()}, {2, second_.get()}});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows.at(BlockIndex(1)).where, (SlotAddress{1, SlotIndex(5)}));
  EXPECT_EQ(rows.at(BlockIndex(2)).where, (SlotAddress{2, SlotIndex(6)}));
}

// The primary's old contents would be served in place of the blocks of the one that is not there.
TEST_F(RecoverSpares, OneThatWasForgottenIsADoubtFromItsFirstBlockOn) {
  commit({{put_on(2, 2, 6)}, {}, {}});
  kill();
  expect_doubt(recover({&spare()}), "spare 2, was not given");
  expect_doubt(recover({second_.get()}), "spare 1, was not given");
  const auto accepted = recover({&spare()}, true);
  ASSERT_TRUE(accepted) << describe(accepted.error().error);
  EXPECT_FALSE(accepted->proven);
  EXPECT_TRUE(recovered_rows({{1, &spare()}}).empty());
  EXPECT_EQ(recover({&spare(), &spare()}, true).error().error.code, Errc::exists);
}

// Whichever write or sync of the old spare fails for good.
TEST_F(RecoverSpares, OneThatJoinsIsKnownBeforeItHasABlock) {
  std::vector<std::unique_ptr<testing::FakeDisk>> joined;
  bool all_told = false;
  for (SpareId id = 3; !all_told; ++id) {
    SCOPED_TRACE(int{id});
    ASSERT_LT(id, 20);
    testing::FakeDisk& third = *joined.emplace_back(std::make_unique<testing::FakeDisk>(ByteCount(4 * kMiB)));
    const SpareInfo joining = make_ready(third, id);
    spare().cut_power_after(id - 2U);
    const bool added = store().add_spare(joining, "", third).has_value();
    const bool used = added && store().commit({{put_on(id, 7, 1)}, {}, {}}).has_value();
    ASSERT_TRUE(used) << "the other spare does not take part";
    all_told = !spare().power_is_off();
    spare().cut_power_after(0);
    kill();
    spare().crash_all_lost();
    expect_doubt(recover({&spare(), second_.get()}), "was not given");
    const auto with_all = recover({&spare(), second_.get(), &third});
    EXPECT_EQ(with_all.has_value(), all_told) << "one that could not be told is a doubt";
    ASSERT_OK(reopen({{1, &spare()}, {2, second_.get()}, {id, &third}}));
    EXPECT_TRUE(superblock_on_disk(Copy::a).spares.has(id));
    commit({{erase(7)}, {}, {}});
    ASSERT_OK(store().retire_spare(id));
    commit({{}, {}, {{"note", {}, "whatever"}}});
    EXPECT_FALSE(superblock_on_disk(Copy::a).spares.has(id));
  }
}

// One that did not answer holds nobody up, and is told by its own next commit, or when the volume is closed.
TEST_F(RecoverSpares, OneThatCouldNotBeToldIsToldLater) {
  for (const bool by_its_commit : {true, false}) {
    testing::FakeDisk more(ByteCount(4 * kMiB));
    const SpareId id = by_its_commit ? 3 : 4;
    const SpareInfo joining = make_ready(more, id);
    spare().set_outage(testing::Outage::gone);
    ASSERT_OK(store().add_spare(joining, "", more));
    spare().reset_counters();
    commit({{put_on(id, 7, 1)}, {}, {}});
    EXPECT_EQ(spare().counters().writes, 0U) << "not at once again";
    commit({{put_on(id, 9, 2)}, {}, {}});
    spare().set_outage(testing::Outage::none);
    EXPECT_FALSE(superblock_on_disk(Copy::a).spares.has(id));
    if (by_its_commit) {
      commit({{put_on(1, 8, 1)}, {}, {}});
      kill();
    } else {
      close();
    }
    EXPECT_TRUE(superblock_on_disk(Copy::a).spares.has(id));
    EXPECT_TRUE(recover({&spare(), second_.get(), &more})->proven);
    const char* const told = "SELECT count(*) FROM events WHERE kind = 'spare-copy-failed'";
    EXPECT_EQ(SQLite::Database(map_path()).execAndGet(told).getInt(), by_its_commit ? 1 : 2) << "once each";
    ASSERT_OK(reopen({{1, &spare()}, {2, second_.get()}, {id, &more}}));
    commit({{erase(7), erase(9)}, {}, {}});
    ASSERT_OK(store().retire_spare(id));
  }
}

// The one that has the lost sectors' row may never have a commit of its own.
TEST_F(RecoverSpares, OneThatJoinsIsToldOfLossesThatReadingDoesNotShow) {
  MapChange ruined = put_lost(4, 0);
  ruined.row.cause = Cause::write_error;
  commit({{ruined}, {}, {}});
  testing::FakeDisk third(ByteCount(4 * kMiB));
  ASSERT_OK(store().add_spare(make_ready(third, 3), "", third));
  ASSERT_OK(store().retire_spare(1));
  ASSERT_OK(store().retire_spare(2));
  commit({{}, {}, {{"note", {}, "whatever"}}});
  kill();
  expect_doubt(recover({&third}), "only the map knew which");
}

// In whose map they are is known, whatever was cut off: a spare's own rows are proven then.
TEST_F(RecoverSpares, RebuildingAMapDoesNotMindAMoveThatWasCutOff) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 6)}, {}, {}});
  second_->cut_power_after(3);
  EXPECT_FALSE(store().commit({{move_over(1, {1, SlotIndex(5)}, {2, SlotIndex(7)})}, {}, {}}).has_value());
  second_->cut_power_after(0);
  kill();
  second_->crash(7);
  const auto tags = read_surviving_tags(*second_);
  ASSERT_OK(tags);
  EXPECT_TRUE(tags->proven);
  EXPECT_EQ(tags->rows.size(), 1U);
}

// A spare from before blocks moved off it, put back: the blocks are on both.
TEST_F(RecoverSpares, BlocksOnTwoSparesAreADoubt) {
  commit({{put_on(1, 1, 5)}, {}, {}});
  commit({{put_on(1, 2, 6)}, {}, {}});
  const auto earlier = save_spare();
  commit({{move_over(1, {1, SlotIndex(5)}, {2, SlotIndex(7)})}, {}, {}});
  commit({{put_on(2, 3, 9)}, {}, {}});
  close();
  restore_spare(earlier);
  expect_doubt(recover({&spare(), second_.get()}), "block 1, is on two spares");
  ASSERT_TRUE(recover({&spare(), second_.get()}, true));
  const Rows rows = recovered_rows({{1, &spare()}, {2, second_.get()}});
  EXPECT_EQ(rows.at(BlockIndex(1)).valid_mask, 0xFFU);
  EXPECT_EQ(rows.at(BlockIndex(2)).where, (SlotAddress{1, SlotIndex(6)}));
}

// Its number is given to the next one.
TEST_F(RecoverSpares, OneThatDidNotJoinIsNotTakenForTheOneThatDid) {
  testing::FakeDisk not_joined(ByteCount(4 * kMiB));
  testing::FakeDisk third(ByteCount(4 * kMiB));
  static_cast<void>(make_ready(not_joined, 3));
  ASSERT_OK(store().add_spare(make_ready(third, 3), "", third));
  commit({{put_on(3, 7, 1)}, {}, {}});
  close();
  expect_doubt(recover({&spare(), second_.get(), &not_joined}), "which never joined");
  EXPECT_TRUE(recover({&spare(), second_.get(), &third})->proven);
}

TEST_F(RecoverSpares, OneThatLeftIsNeitherNeededNorTaken) {
  commit({{put_on(1, 1, 5), put_on(2, 2, 6)}, {}, {}});
  const auto left_behind = save_spare();
  commit({{move_over(1, {1, SlotIndex(5)}, {2, SlotIndex(7)})}, {}, {}});
  ASSERT_OK(store().retire_spare(1));
  commit({{}, {}, {{"note", {}, "whatever"}}});
  // Not wiped, as after a crash.
  kill();
  expect_doubt(recover({&spare(), second_.get()}), "is not known to");
  restore_spare(left_behind);
  expect_doubt(recover({&spare(), second_.get()}), "is not known to");
  const auto recovered = recover({second_.get()});
  ASSERT_TRUE(recovered) << describe(recovered.error().error);
  EXPECT_TRUE(recovered->proven);
  EXPECT_EQ(recovered->info.spares.front().id, SpareId{2});
  const Rows rows = recovered_rows({{2, second_.get()}});
  EXPECT_EQ(rows.size(), 2U);
}

TEST_F(RecoverSpares, SuperblocksFromBeforeTheyNamedTheOthersAreADoubt) {
  close();
  Superblock old = superblock_on_disk(Copy::a);
  old.spares = {};
  ASSERT_TRUE(write_superblocks(spare(), old)->all());
  expect_doubt(recover({&spare(), second_.get()}), "does not say which spares there are");
  open_both();
  close();
  EXPECT_TRUE(recover({&spare(), second_.get()})->proven);
}

TEST_F(RecoverSpares, WhatOnlyOneSuperblockSaysCounts) {
  close();
  const auto said = [&](Copy copy, const auto& change) {
    Superblock one = superblock_on_disk(copy);
    change(one);
    std::array<std::byte, kSuperblockBytes> bytes{};
    encode_superblock(one, bytes);
    spare().poke(layout().superblock[static_cast<std::size_t>(copy)], bytes);
  };
  for (const Copy copy : kCopies) {
    const auto before = save_spare();
    said(copy, [](Superblock& one) { one.hides_losses = true; });
    expect_doubt(recover({&spare(), second_.get()}), "only the map knew which");
    restore_spare(before);
    said(copy, [](Superblock& one) { one.between_spares = true; });
    expect_doubt(recover({&spare(), second_.get()}), "moves blocks to it from others");
    restore_spare(before);
    said(copy, [](Superblock& one) { one.spares.numbers.set(9); });
    expect_doubt(recover({&spare(), second_.get()}), "spare 9, was not given");
    restore_spare(before);
  }
  EXPECT_TRUE(recover({&spare(), second_.get()})->proven);
}

// A commit that moves blocks ends on one spare before it ends on the other. Power goes at each write and sync of each
// of them: without the map, the block is never taken to be where it is not.
TEST_F(RecoverSpares, BlockThatMovesIsNeverTakenForOneOfThePrimary) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(testing::seed_message(seed));
  testing::Random random(seed);
  commit({{put_on(1, 1, 0), put_on(2, 2, 0)}, {}, {}});
  SlotAddress first{1, SlotIndex(0)};
  SlotAddress second{2, SlotIndex(0)};
  int proven = 0;
  int refused = 0;
  for (std::uint64_t round = 1; round < 300; ++round) {
    SCOPED_TRACE(round);
    // Alone, or in each other's place.
    const SlotAddress first_to{static_cast<SpareId>(3 - first.spare), SlotIndex(round)};
    const SlotAddress second_to{static_cast<SpareId>(3 - second.spare), SlotIndex(300 + round)};
    const bool both = random.one_in(2);
    MapTransaction moves{{move_over(1, first, first_to)}, {}, {}};
    if (both) moves.changes.push_back(move_over(2, second, second_to));
    (random.one_in(2) ? spare() : *second_).cut_power_after(random.between(1, 12));
    const bool committed = store().commit(moves).has_value();
    spare().cut_power_after(0);
    second_->cut_power_after(0);
    kill();
    spare().crash(random());
    second_->crash(random());
    const std::string map = map_path_;
    if (const auto recovered = recover({&spare(), second_.get()})) {
      ++proven;
      const Rows rows = recovered_rows({{1, &spare()}, {2, second_.get()}});
      ASSERT_EQ(rows.size(), 2U);
      const SlotAddress one = rows.at(BlockIndex(1)).where;
      const SlotAddress two = rows.at(BlockIndex(2)).where;
      ASSERT_TRUE(one == first_to || (!committed && one == first));
      ASSERT_TRUE(two == second || (both && two == second_to));
      ASSERT_TRUE(!committed || !both || two == second_to);
    } else {
      ++refused;
      ASSERT_EQ(recovered.error().error.code, Errc::stale) << describe(recovered.error().error);
      ASSERT_FALSE(committed);
    }
    map_path_ = map;
    ASSERT_OK(try_open_both());
    first = rows_.at(BlockIndex(1)).where;
    second = rows_.at(BlockIndex(2)).where;
  }
  EXPECT_GT(proven, 50);
  EXPECT_GT(refused, 3);
}

TEST_F(RecoverSpares, PrimaryThatNotEverySpareRemembersIsADoubt) {
  close();
  check_primary_ = [](const std::string& remembered) -> Result<void> {
    return remembered == "disk of a test" ? Result<void>() : fail(Errc::foreign, "another one");
  };
  EXPECT_TRUE(recover({&spare(), second_.get()})->proven);
  Superblock other = superblock_on_disk(Copy::a);
  other.primary_identity = "another disk";
  ASSERT_TRUE(write_superblocks(spare(), other)->all());
  expect_doubt(recover({&spare(), second_.get()}), "remembers another primary");
  Superblock both = *read_superblocks(*second_)[Copy::a];
  both.primary_identity = "another disk";
  ASSERT_TRUE(write_superblocks(*second_, both)->all());
  EXPECT_EQ(recover({&spare(), second_.get()}, true).error().error.code, Errc::foreign);
}

}  // namespace
}  // namespace remapfs::store
