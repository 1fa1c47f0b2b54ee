// SPDX-License-Identifier: Apache-2.0
#include "store/map_reader.hpp"

#include <cstdio>
#include <filesystem>

#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

class Reader : public StoreTest {
 protected:
  // A disk of 10 blocks and 3 sectors.
  void create_short_disk() {
    spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 * kMiB), 512);
    CreateSpec spec;
    spec.map_path = map_path_;
    spec.size = ByteCount(10 * 4096 + 3 * 512);
    ASSERT_OK(create_volume(spec, *spare_));
    open();
    MapChange partial = put_remapped(4, 1);
    partial.row.valid_mask = 0x7F;
    MapChange weak = put_lost(5, full());
    weak.row.state = EntryState::weak;
    commit({{partial, put_remapped(6, 2), weak, put_lost(0, 0xF0), put_lost(10, 0xF9)},
            {{1, SlotIndex(7)}},
            {{"first", BlockIndex(4), "a"}, {"second", std::nullopt, "b"}}});
  }
  MapReader reader() {
    auto reader = MapReader::open(map_path());
    EXPECT_TRUE(reader.has_value()) << describe(reader.error());
    return *reader;
  }
  void expect_contents() {
    const auto summary = reader().summary();
    ASSERT_OK(summary);
    EXPECT_EQ(summary->remapped_blocks, 2U);
    EXPECT_EQ(summary->lost_blocks, 2U);
    EXPECT_EQ(summary->weak_blocks, 1U);
    EXPECT_EQ(summary->lost_sectors, 1U + 4U + 2U);
    EXPECT_EQ(summary->slots_total, layout().slots - 1);
    EXPECT_EQ(summary->slots_free, layout().slots - 3);
    EXPECT_EQ(summary->slots_retired, 1U);
    std::vector<std::uint64_t> blocks;
    ASSERT_OK(reader().for_each_row([&](const ListedRow& row) -> Result<void> {
      blocks.push_back(row.row.block.value());
      EXPECT_EQ(row.offset.value(), row.row.block.value() * 4096);
      EXPECT_EQ(row.created_at.size(), 20U);
      return {};
    }));
    EXPECT_EQ(blocks, (std::vector<std::uint64_t>{0, 4, 5, 6, 10}));
    const auto row = reader().find_row(BlockIndex(4));
    ASSERT_OK(row);
    ASSERT_TRUE(row->has_value());
    EXPECT_EQ((*row)->row.where, (SlotAddress{1, SlotIndex(1)}));
    EXPECT_EQ((*row)->row.written_mask, 0xFFU);
    EXPECT_FALSE(reader().find_row(BlockIndex(1))->has_value());
    const auto events = reader().newest_events(2);
    ASSERT_OK(events);
    ASSERT_EQ(events->size(), 2U);
    EXPECT_EQ((*events)[0].event.kind, "first");
    EXPECT_EQ((*events)[0].event.block, BlockIndex(4));
    EXPECT_EQ((*events)[1].event.block, std::nullopt);
  }
};

TEST_F(Reader, SeesTheSameWhileOpenAfterAKillAndAtRest) {
  create_short_disk();
  expect_contents();
  kill();
  expect_contents();
  open();
  close();
  expect_contents();
}

TEST_F(Reader, MapAtRestIsNotTouched) {
  create_short_disk();
  close();
  const auto before = save_map();
  expect_contents();
  EXPECT_EQ(save_map().content, before.content);
  EXPECT_FALSE(std::filesystem::exists(map_path() + "-wal"));
  EXPECT_FALSE(std::filesystem::exists(map_path() + "-shm"));
}

TEST_F(Reader, MountDuringAnIterationIsNoticed) {
  create_short_disk();
  close();
  bool opened = false;
  const auto result = reader().for_each_row([&](const ListedRow&) -> Result<void> {
    if (!opened) open();
    opened = true;
    return {};
  });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::busy);
}

TEST_F(Reader, ErrorOfTheVisitorIsPassedOn) {
  create_short_disk();
  const auto result = reader().for_each_row([](const ListedRow&) -> Result<void> { return fail(Errc::interrupted); });
  EXPECT_EQ(result.error().code, Errc::interrupted);
}

TEST_F(Reader, RefusesWhatIsNoMap) {
  EXPECT_EQ(MapReader::open(directory_ / "nothing").error().code, Errc::not_found);
  create_short_disk();
  close();
  sql("PRAGMA application_id = 3");
  EXPECT_EQ(MapReader::open(map_path()).error().code, Errc::foreign);
}

TEST_F(Reader, ViewsAnswerPeopleWithPlainSqlite) {
  create_short_disk();
  close();
  SQLite::Database database(map_path(), SQLite::OPEN_READONLY);
  SQLite::Statement summary(database,
                            "SELECT remapped_blocks, lost_sectors, weak_blocks, slots_total, slots_retired "
                            "FROM remap_summary");
  ASSERT_TRUE(summary.executeStep());
  EXPECT_EQ(summary.getColumn(0).getInt(), 2);
  EXPECT_EQ(summary.getColumn(1).getInt(), 7);
  EXPECT_EQ(summary.getColumn(2).getInt(), 1);
  EXPECT_EQ(summary.getColumn(3).getInt64(), static_cast<std::int64_t>(layout().slots - 1));
  EXPECT_EQ(summary.getColumn(4).getInt(), 1);
  SQLite::Statement list(database, "SELECT offset, valid_mask FROM remap_list WHERE block = 4");
  ASSERT_TRUE(list.executeStep());
  EXPECT_EQ(list.getColumn(0).getInt(), 16384);
  EXPECT_EQ(list.getColumn(1).getString(), "0x000000000000007f");
  SQLite::Statement regions(database,
                            "SELECT begin_byte, end_byte, blocks, remapped, lost, weak FROM remaps_by_region");
  ASSERT_TRUE(regions.executeStep());
  EXPECT_EQ(regions.getColumn(1).getInt(), 10 * 4096 + 3 * 512);
  EXPECT_EQ(regions.getColumn(2).getInt(), 5);
  EXPECT_EQ(regions.getColumn(3).getInt(), 2);
}

TEST_F(Reader, SummaryViewCountsSixtyFourSectorBlocks) {
  create(32768, 1000);
  open();
  MapChange partial = put_remapped(4, 1);
  partial.row.valid_mask = ~SectorMask{0} >> 3U;  // the three highest sectors, the sign bit among them
  commit({{partial, put_remapped(5, 2), put_lost(6, 0)}, {}, {}});
  close();
  EXPECT_EQ(reader().summary()->lost_sectors, 67U);
  SQLite::Database database(map_path(), SQLite::OPEN_READONLY);
  EXPECT_EQ(database.execAndGet("SELECT lost_sectors FROM remap_summary").getInt(), 67);
  EXPECT_EQ(database.execAndGet("SELECT valid_mask FROM remaps WHERE block = 5").getInt64(), -1);
}

TEST_F(Reader, SchemaExplainsEveryColumn) {
  create();
  SQLite::Database database(map_path(), SQLite::OPEN_READONLY);
  const std::string schema =
      database.execAndGet("SELECT group_concat(sql) FROM sqlite_schema WHERE type = 'table'").getString();
  for (const char* words : {"bit i (least significant first)", "identifies the volume", "its last commit"}) {
    EXPECT_NE(schema.find(words), std::string::npos) << words;
  }
}

}  // namespace
}  // namespace remapfs::store
