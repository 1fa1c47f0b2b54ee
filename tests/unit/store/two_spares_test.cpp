// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "store/spare_superblocks.hpp"
#include "support/random.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

// A volume that has been given a second spare.
class TwoSpares : public StoreTest {
 protected:
  TwoSpares() {
    create();
    second_ = testing::FakeDisk::with_logical_block(ByteCount(6 * kMiB), 4096);
    Superblock superblock = superblock_on_disk(Copy::a);
    superblock.id = 2;
    superblock.spare.bytes[0] ^= std::byte{0xFF};
    superblock.layout = SpareLayout::of(ByteCount(6 * kMiB), 4096);
    EXPECT_TRUE(write_superblocks(*second_, superblock)->all());
    EXPECT_TRUE(second_->sync().has_value());
    sql(fmt::format(
        "INSERT INTO devices (id, role, path, uuid, identity, size_bytes, slots, first_slot, state, sequence) "
        "VALUES (2, 'spare', '/second', '{}', '', {}, {}, {}, 'active', 0)",
        superblock.spare.to_string(), superblock.layout.device_size.value(), superblock.layout.slots,
        superblock.layout.first_slot.value()));
    open_both();
  }
  Result<void> try_open_both() {
    rows_.clear();
    store_.reset();
    auto store = SqliteMapStore::open(map_path(), {});
    if (!store) return fail(std::move(store.error()));
    if (auto done = (*store)->attach_spare(1, spare()); !done) return done;
    if (auto done = (*store)->attach_spare(2, *second_); !done) return done;
    auto loaded = (*store)->load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) rows_.emplace(row.block, row);
      return {};
    });
    if (loaded) store_ = std::move(*store);
    return loaded;
  }
  void open_both() { ASSERT_OK(try_open_both()); }
  MapChange put_on(SpareId id, std::uint64_t block, std::uint64_t slot) const {
    MapChange change = put_remapped(block, slot);
    change.row.where.spare = id;
    return change;
  }
  MapChange move_over(std::uint64_t block, SlotAddress from, SlotAddress to) const {
    MapChange change = put_on(to.spare, block, to.slot.value());
    change.vacated = from;
    return change;
  }

  std::unique_ptr<testing::FakeDisk> second_;
};

TEST_F(TwoSpares, OnlyTouchedSparesAreSyncedAndTakeASequence) {
  spare().reset_counters();
  second_->reset_counters();
  commit({{put_on(2, 1, 5)}, {}, {}});
  EXPECT_EQ(spare().counters().syncs, 0U);
  EXPECT_EQ(second_->counters().syncs, 2U);
  EXPECT_EQ(superblock_on_disk(Copy::a).watermark, Sequence(1));
  EXPECT_EQ((*store().find_row(BlockIndex(1)))->sequence, Sequence(2));
  commit({{put_on(1, 2, 5)}, {}, {}});
  EXPECT_EQ((*store().find_row(BlockIndex(2)))->sequence, Sequence(2));
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

}  // namespace
}  // namespace remapfs::store
