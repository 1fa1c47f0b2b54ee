// SPDX-License-Identifier: Apache-2.0
#include "store/repair.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "store/backup.hpp"
#include "store/map_reader.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

class RepairMap : public StoreTest {
 protected:
  void create_with_rows() {
    create();
    open();
    MapTransaction transaction;
    for (std::uint64_t i = 1; i <= 300; ++i) transaction.changes.push_back(put_remapped(i, i));
    transaction.changes.push_back(put_lost(1000, 3));
    transaction.retired_slots.push_back({1, SlotIndex(700)});
    transaction.events.push_back({"told", std::nullopt, "by a test"});
    commit(transaction);
    close();
    open({.read_only = true});
    rows_before_ = rows();
    kill();
  }
  [[nodiscard]] Repair repair() {
    auto repaired = repair_map(map_path(), {{SpareId{1}, spare_.get()}});
    EXPECT_TRUE(repaired.has_value()) << describe(repaired.error());
    return repaired ? std::move(*repaired) : Repair{};
  }
  void expect_rows_as_before() {
    open();
    ASSERT_EQ(rows().size(), rows_before_.size());
    for (const auto& [block, row] : rows()) EXPECT_TRUE(same_content(row, rows_before_.at(block))) << block.value();
    close();
  }
  Rows rows_before_;
};

TEST_F(RepairMap, NothingIsDoneToAGoodVolume) {
  create_with_rows();
  const auto map = save_map();
  const auto bytes = save_spare();
  const Repair done = repair();
  EXPECT_TRUE(done.mended.empty() && done.left.empty() && done.kept_as.empty());
  EXPECT_EQ(save_map().content, map.content);
  EXPECT_EQ(save_spare(), bytes);
}

TEST_F(RepairMap, DamagedIndexGivesANewFileAndTheOldOneIsKept) {
  create_with_rows();
  damage_root_of("sqlite_autoindex_remaps_1");
  const std::string damaged = save_map().content.at("");
  ASSERT_FALSE(try_open().has_value());
  const Repair done = repair();
  EXPECT_TRUE(done.left.empty()) << done.left.front().text;
  EXPECT_FALSE(done.mended.empty());
  EXPECT_TRUE(done.lost.empty()) << done.lost.front();
  EXPECT_EQ(done.kept_as, map_path() + ".damaged");
  std::ifstream kept(done.kept_as, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(kept), {}), damaged);
  expect_rows_as_before();
  SQLite::Database database(map_path(), SQLite::OPEN_READONLY);
  EXPECT_EQ(database.execAndGet("SELECT count(*) FROM events WHERE kind IN ('told', 'repaired')").getInt(), 2);
  EXPECT_EQ(database.execAndGet("SELECT slot FROM retired_slots").getInt(), 700);
}

TEST_F(RepairMap, DamagedHistoryIsLeftOutAndSaidToBe) {
  create_with_rows();
  damage_root_of("events");
  const Repair done = repair();
  EXPECT_TRUE(done.left.empty()) << done.left.front().text;
  ASSERT_EQ(done.lost.size(), 1U);
  EXPECT_NE(done.lost.front().find("history"), std::string::npos);
  expect_rows_as_before();
}

TEST_F(RepairMap, ScrubIsKeptWhenTheFileIsMadeAnew) {
  create_with_rows();
  sql("INSERT INTO scrub VALUES (1, 'paused', 17, 0, 1, 2, 3, 4, '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')");
  damage_root_of("sqlite_autoindex_remaps_1");
  EXPECT_TRUE(repair().lost.empty());
  open({.read_only = true});
  EXPECT_EQ(store().info().scrub.next, BlockIndex(17));
  EXPECT_EQ(store().info().scrub.found, (ScrubFindings{1, 2, 3, 4}));
}

TEST_F(RepairMap, SmartReadingsAreKeptWhenTheFileIsMadeAnew) {
  create_with_rows();
  sql("INSERT INTO smart VALUES (3, 0, '2026-01-01T00:00:00Z', 'drive', 1, 8, NULL, 0, NULL, 30, 1000)");
  damage_root_of("sqlite_autoindex_remaps_1");
  EXPECT_TRUE(repair().lost.empty());
  const auto smart = MapReader::open(map_path())->smart();
  ASSERT_TRUE(smart && smart->size() == 1);
  EXPECT_EQ(smart->front().reallocated, 8U);
  EXPECT_FALSE(smart->front().pending);
}

TEST_F(RepairMap, SmartReadingsThatCannotBeReadAreNamed) {
  create_with_rows();
  damage_root_of("smart");
  const Repair done = repair();
  EXPECT_TRUE(done.left.empty()) << done.left.front().text;
  ASSERT_EQ(done.lost.size(), 1U);
  EXPECT_NE(done.lost.front().find("SMART"), std::string::npos);
  expect_rows_as_before();
}

TEST_F(RepairMap, RemappedRowsThatAreGoneComeBackFromTheSpare) {
  create_with_rows();
  sql("DELETE FROM remaps WHERE block IN (7, 8); UPDATE remaps SET slot = 650 WHERE block = 9");
  const Repair done = repair();
  EXPECT_TRUE(done.left.empty()) << done.left.front().text;
  open();
  ASSERT_EQ(rows().size(), rows_before_.size());
  for (const auto& [block, row] : rows()) EXPECT_EQ(row.mapping(), rows_before_.at(block).mapping()) << block.value();
}

TEST_F(RepairMap, LostRowThatIsGoneIsNotGuessed) {
  create_with_rows();
  sql("DELETE FROM remaps WHERE block = 1000");
  const auto map = save_map();
  const auto bytes = save_spare();
  const Repair done = repair();
  EXPECT_FALSE(done.left.empty());
  EXPECT_NE(done.reason.find("remapfs recover"), std::string::npos) << done.reason;
  EXPECT_EQ(save_map().content, map.content);
  EXPECT_EQ(save_spare(), bytes);
}

TEST_F(RepairMap, OldMapIsLeftAsItIs) {
  create_with_rows();
  const auto old = save_map();
  open();
  commit({{put_remapped(500, 500)}, {}, {}});
  close();
  restore_map(old);
  const auto bytes = save_spare();
  const Repair done = repair();
  EXPECT_FALSE(done.left.empty());
  EXPECT_NE(done.reason.find("older than spare"), std::string::npos) << done.reason;
  EXPECT_EQ(save_map().content, old.content);
  EXPECT_EQ(save_spare(), bytes);
}

TEST_F(RepairMap, MissingSpareIsAskedFor) {
  create_with_rows();
  const auto missing = repair_map(map_path(), {});
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Errc::not_found);
}

TEST_F(RepairMap, BackupIsTheMapAndADamagedMapHasNone) {
  create_with_rows();
  const std::string copy = directory_ / "copy";
  const auto info = backup_map(map_path(), copy);
  ASSERT_OK(info);
  EXPECT_EQ(info->rows, rows_before_.size());
  EXPECT_EQ(backup_map(map_path(), copy).error().code, Errc::exists);
  damage_root_of("sqlite_autoindex_remaps_1");
  EXPECT_EQ(backup_map(map_path(), directory_ / "second").error().code, Errc::corrupt);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "second"));
  std::filesystem::rename(copy, map_path());
  expect_rows_as_before();
}

}  // namespace
}  // namespace remapfs::store
