// SPDX-License-Identifier: Apache-2.0
#include <sqlite3.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "store/backup.hpp"
#include "store/little_endian.hpp"
#include "store/map_reader.hpp"
#include "store/rebuild.hpp"
#include "store/repair.hpp"
#include "unit/store/store_fixture.hpp"

// Promise I5: what does not belong together is refused with an exact message, and nothing is written.

namespace remapfs::store {
namespace {

class Refusal : public StoreTest {
 protected:
  // Opening fails with this kind and these words, for reading and for writing, and changes neither map nor spare.
  void expect_refused(Errc code, const std::string& words) {
    store_.reset();
    std::filesystem::remove(map_path() + "-shm");
    const Files map = save_map();
    const auto bytes = save_spare();
    for (const bool read_only : {true, false}) {
      SCOPED_TRACE(read_only);
      const auto refused = try_open({.read_only = read_only});
      ASSERT_FALSE(refused.has_value());
      EXPECT_EQ(refused.error().code, code) << refused.error().message;
      EXPECT_NE(refused.error().message.find(words), std::string::npos) << refused.error().message;
      EXPECT_EQ(save_map().content, map.content);
      EXPECT_EQ(save_spare(), bytes);
      EXPECT_FALSE(std::filesystem::exists(map_path() + "-shm"));
    }
    // What a mount refuses, a check names.
    const auto found = findings();
    EXPECT_TRUE(std::any_of(found.begin(), found.end(),
                            [](const Finding& finding) { return finding.severity == Finding::Severity::error; }));
  }
  void create_with_rows() {
    create();
    open();
    commit({{put_remapped(1, 1), put_remapped(2, 2), put_lost(3, 0)}, {}, {}});
    close();
    ASSERT_TRUE(findings().empty());
  }
  void rewrite_superblock(Copy copy, const Superblock& superblock) {
    std::array<std::byte, kSuperblockBytes> bytes{};
    encode_superblock(superblock, bytes);
    spare().poke(layout().superblock[static_cast<std::size_t>(copy)], bytes);
  }
  void rewrite_tag(std::uint64_t slot, const Tag& tag) {
    std::array<std::byte, kTagBytes> bytes{};
    encode_tag(tag, superblock_on_disk(Copy::a).spare, SlotIndex(slot), bytes);
    for (const Copy copy : kCopies) {
      spare().poke(ByteOffset(tag_sector(copy, slot) * kSectorSize + tag_place(SlotIndex(slot)).in_sector), bytes);
    }
  }
  void write_map(const std::string& content) { std::ofstream(map_path(), std::ios::binary) << content; }
};

TEST_F(Refusal, EarlierCopyOfTheMapIsStale) {
  create_with_rows();
  const Files old = save_map();
  open();
  commit({{put_remapped(9, 9)}, {}, {}});
  close();
  restore_map(old);
  expect_refused(Errc::stale, "the map is older than spare");
}

TEST_F(Refusal, EarlierCopyOfTheMapIsStaleAlsoWhenNothingWasCommittedSince) {
  create_with_rows();
  const Files old = save_map();
  open();
  close();
  restore_map(old);
  expect_refused(Errc::stale, "the map is older than spare");
}

TEST_F(Refusal, EarlierCopyOfTheSpareIsStale) {
  create_with_rows();
  const auto old = save_spare();
  open();
  commit({{put_remapped(9, 9)}, {}, {}});
  close();
  restore_spare(old);
  expect_refused(Errc::stale, "older than the map");
}

TEST_F(Refusal, SpareOneCommitBehindIsStaleWhenTheMapWasClosedInOrder) {
  create_with_rows();
  open();
  const auto old = save_spare();
  commit({{erase(2)}, {}, {}});
  close();
  restore_spare(old);
  expect_refused(Errc::stale, "older than the map");
}

TEST_F(Refusal, SpareTwoCommitsBehindIsStaleAfterACrash) {
  create_with_rows();
  open();
  const auto old = save_spare();
  commit({{erase(2)}, {}, {}});
  commit({{erase(1)}, {}, {}});
  kill();
  restore_spare(old);
  expect_refused(Errc::stale, "older than the map");
}

TEST_F(Refusal, SpareOfAnotherVolumeIsForeign) {
  create_with_rows();
  Superblock superblock = superblock_on_disk(Copy::a);
  superblock.volume.bytes[3] ^= std::byte{1};
  rewrite_superblock(Copy::a, superblock);
  rewrite_superblock(Copy::b, superblock);
  expect_refused(Errc::foreign, "belongs to another volume");
}

TEST_F(Refusal, AnotherSpareOfTheVolumeIsForeign) {
  create_with_rows();
  Superblock superblock = superblock_on_disk(Copy::a);
  superblock.spare.bytes[3] ^= std::byte{1};
  rewrite_superblock(Copy::a, superblock);
  rewrite_superblock(Copy::b, superblock);
  expect_refused(Errc::foreign, "is another spare of this volume");
}

TEST_F(Refusal, DeviceThatIsNoSpareIsForeign) {
  create_with_rows();
  const std::vector<std::byte> junk(4096, std::byte{0x5A});
  spare().poke(layout().superblock[0], junk);
  spare().poke(layout().superblock[1], junk);
  expect_refused(Errc::foreign, "no remapfs spare is there");
}

TEST_F(Refusal, BothSuperblocksDamagedIsCorruptOneIsNot) {
  create_with_rows();
  const std::array byte{std::byte{0x77}};
  spare().poke(layout().superblock[0] + 100, byte);
  open();
  close();
  spare().poke(layout().superblock[0] + 100, byte);
  spare().poke(layout().superblock[1] + 100, byte);
  expect_refused(Errc::corrupt, "both superblocks are damaged");
}

TEST_F(Refusal, SpareWithOtherNumbersThanTheMapIsCorrupt) {
  create_with_rows();
  Superblock superblock = superblock_on_disk(Copy::a);
  superblock.id = 2;
  superblock.spares.numbers.set(2);
  rewrite_superblock(Copy::a, superblock);
  rewrite_superblock(Copy::b, superblock);
  expect_refused(Errc::corrupt, "differ from the map's");
}

TEST_F(Refusal, SpareOfANewerVersionIsTooNew) {
  create_with_rows();
  std::array<std::byte, kSuperblockBytes> bytes{};
  encode_superblock(superblock_on_disk(Copy::a), bytes);
  bytes[8] = std::byte{kSpareFormatVersion + 1};
  ByteWriter(std::span(bytes).last(8)).u64(XXH3_64bits(bytes.data(), bytes.size() - 8));
  for (const ByteOffset at : layout().superblock) spare().poke(at, bytes);
  expect_refused(Errc::too_new, "made by a newer remapfs");
}

TEST_F(Refusal, MapOfANewerVersionIsTooNew) {
  create_with_rows();
  sql("PRAGMA user_version = 3");
  expect_refused(Errc::too_new, "made by a newer remapfs");
}

TEST_F(Refusal, MapFromBeforeTheFirstReleaseIsNotTakenForADamagedOne) {
  create_with_rows();
  sql("PRAGMA user_version = 1; ALTER TABLE devices DROP COLUMN first_byte");
  expect_refused(Errc::unsupported, "from before the first release");
  const auto found = findings();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found[0].text.find("from before the first release"), std::string::npos) << found[0].text;
}

TEST_F(Refusal, DatabaseOfAnotherProgramIsForeign) {
  create_with_rows();
  sql("PRAGMA application_id = 7");
  expect_refused(Errc::foreign, "a database of another program");
}

TEST_F(Refusal, WhatIsNoDatabaseIsForeign) {
  create_with_rows();
  for (const std::string& content : {std::string(), std::string("SQLite format 3"), std::string(50'000, 'x')}) {
    write_map(content);
    expect_refused(Errc::foreign, "not a remapfs map");
  }
}

TEST_F(Refusal, TruncatedMapIsCorrupt) {
  create_with_rows();
  const std::string whole = save_map().content.at("");
  for (const std::size_t pages : {1U, 2U, 5U}) {
    SCOPED_TRACE(pages);
    write_map(whole.substr(0, pages * 4096));
    expect_refused(Errc::corrupt, "the map is damaged");
  }
}

TEST_F(Refusal, EveryPageOverwrittenWithJunkIsNoticed) {
  create_with_rows();
  const std::string whole = save_map().content.at("");
  const auto bytes = save_spare();
  for (std::size_t page = 0; page < whole.size() / 4096; ++page) {
    SCOPED_TRACE(page);
    std::string damaged = whole;
    damaged.replace(page * 4096, 4096, std::string(4096, '\xA5'));
    write_map(damaged);
    restore_spare(bytes);
    const auto opened = try_open({.read_only = true});
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().code == Errc::corrupt || opened.error().code == Errc::foreign);
    store_.reset();
    EXPECT_FALSE(findings().empty()) << "a check sees all of it";
  }
}

TEST_F(Refusal, AnIndexThatDoesNotMatchTheRowsIsCorrupt) {
  create();
  open();
  commit({{put_remapped(900, 300)}, {}, {}});
  close();
  std::string damaged = save_map().content.at("");
  SQLite::Database database(map_path());
  const auto page = static_cast<std::size_t>(
      database.execAndGet("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_remaps_1'").getInt64());
  // The entries of a page are filled in from its end: the last byte is a byte of the block.
  damaged.at(page * 4096 - 1) = static_cast<char>(damaged.at(page * 4096 - 1) ^ 0x40);
  write_map(damaged);
  expect_refused(Errc::corrupt, "the index of the rows does not match them");
}

TEST_F(Refusal, RowsChangedByHandAreCorrupt) {
  const std::array<std::pair<const char*, const char*>, 9> changes{{
      {"UPDATE remaps SET valid_mask = 127 WHERE block = 1", "digest"},
      {"UPDATE remaps SET slot = 7 WHERE block = 1", "digest"},
      {"UPDATE remaps SET block = 77 WHERE block = 3", "digest"},
      {"DELETE FROM remaps WHERE block = 3", "2 rows are there, 3 should be"},
      {"UPDATE remaps SET slot = 100000 WHERE block = 1", "past the end of spare"},
      {"UPDATE remaps SET valid_mask = 256 WHERE block = 1", "bits beyond the block"},
      {"UPDATE remaps SET sequence = 100 WHERE block = 1", "sequence 100 is outside"},
      {"UPDATE remaps SET cause = 'whim' WHERE block = 1", "unknown cause"},
      {"UPDATE volume SET row_digest = row_digest + 1", "digest"},
  }};
  for (const auto& [statement, words] : changes) {
    SCOPED_TRACE(statement);
    std::filesystem::remove(map_path());
    create_with_rows();
    sql(statement);
    expect_refused(Errc::corrupt, words);
  }
}

// What a map could run when it is read.
TEST_F(Refusal, MapWithOtherTablesViewsOrTriggersIsCorrupt) {
  create_with_rows();
  const Files good = save_map();
  const std::string endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT ";
  const std::pair<std::string, std::string> hostile[] = {
      {"remap_summary", "DROP VIEW remap_summary; CREATE VIEW remap_summary AS " + endless +
                            "'u' AS uuid, 'l' AS label, sum(i) AS size_bytes FROM n"},
      {"kept", "ALTER TABLE volume RENAME TO kept; CREATE VIEW volume AS " + endless + "sum(i) AS uuid FROM n"},
      {"mine", "CREATE TRIGGER mine AFTER UPDATE ON volume BEGIN DELETE FROM remaps; END"},
      {"by_cause", "CREATE INDEX by_cause ON remaps (cause) WHERE length(hex(zeroblob(100000))) > block"},
      {"another", "CREATE TABLE another (text)"},
      {"remaps", "ALTER TABLE remaps ADD COLUMN bomb TEXT AS (hex(zeroblob(1000000)))"},
      {"events", "DROP TABLE events"},
      {"remaps_by_region", "DROP VIEW remaps_by_region"},
  };
  for (const auto& [name, statements] : hostile) {
    SCOPED_TRACE(statements);
    restore_map(good);
    sql(statements);
    expect_refused(Errc::corrupt, "");
    const auto refused = try_open();
    EXPECT_NE(refused.error().message.find("(" + name), std::string::npos) << refused.error().message;
    EXPECT_FALSE(MapReader::open(map_path())) << "those who only look are to be safe, too";
  }
  restore_map(good);
  sql("ANALYZE");
  EXPECT_TRUE(try_open()) << "what helps a query is no harm";
  store_.reset();
  restore_map(good);
  sql("CREATE INDEX by_kind ON events (kind); PRAGMA writable_schema = ON;"
      "UPDATE sqlite_schema SET name = 'sqlite_stat_of_mine' WHERE name = 'by_kind'");
  expect_refused(Errc::corrupt, "sqlite_stat_of_mine");
}

// Also those that look at a map that may be damaged, and are sent there by a refusal.
TEST_F(Refusal, NothingInThePlaceOfATableIsEverAsked) {
  create_with_rows();
  const Files good = save_map();
  for (const std::string table : {"volume", "devices", "remaps", "retired_slots", "events"}) {
    SCOPED_TRACE(table);
    restore_map(good);
    sql("ALTER TABLE " + table + " RENAME TO kept; CREATE VIEW " + table +
        " AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, i AS uuid, i AS label, i "
        "AS"
        " block, i AS state, i AS spare_id, i AS slot FROM n WHERE i < 0");
    EXPECT_FALSE(members_of(map_path()));
    EXPECT_FALSE(rebuild_map(map_path(), {{1, spare_.get()}}));
    EXPECT_FALSE(backup_map(map_path(), directory_ / "copy"));
    EXPECT_FALSE(findings().empty());
  }
}

// SQLite reads what ANALYZE left before anybody can look at it.
TEST_F(Refusal, StatisticsThatAreComputedEndInTime) {
  create_with_rows();
  sql("PRAGMA writable_schema = ON; ANALYZE; DELETE FROM sqlite_stat1;"
      "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
      "INSERT INTO sqlite_stat1 (tbl) SELECT 'remaps' || i FROM n;"
      "UPDATE sqlite_schema SET sql = 'CREATE TABLE sqlite_stat1(tbl,idx,stat AS (instr(zeroblob(60000 + length(tbl)), "
      "zeroblob(30000) || x''01'')))' WHERE name = 'sqlite_stat1'");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(try_open());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST_F(Refusal, SpareThatWouldReachIntoTheDiskIsCorrupt) {
  create_with_rows();
  const std::uint64_t end = 100'000ULL * 4096;
  const std::uint64_t behind = round_up(end, kMiB);
  for (const std::uint64_t begin : {kMiB, round_down(end - 1, kMiB), behind + 4096, std::uint64_t{1} << 63U}) {
    SCOPED_TRACE(begin);
    sql("UPDATE devices SET first_byte = " + std::to_string(static_cast<std::int64_t>(begin)) + " WHERE id = 1");
    expect_refused(Errc::corrupt, "impossible beginning");
  }
  sql("UPDATE devices SET first_byte = " + std::to_string(behind) + " WHERE id = 1");
  EXPECT_TRUE(try_open()) << "where it is, is for the device to say";
}

TEST_F(Refusal, DuplicateSlotsInADamagedIndexAreCorrupt) {
  create_with_rows();
  sql("CREATE TEMP TABLE as_made AS SELECT * FROM sqlite_schema;"
      "PRAGMA writable_schema = ON;"
      "UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (spare_id, slot),', '') WHERE name = 'remaps';"
      "DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_remaps_1';"
      "PRAGMA writable_schema = RESET;"
      "UPDATE remaps SET slot = 1 WHERE block = 2;"
      "PRAGMA writable_schema = ON;"
      "DELETE FROM sqlite_schema;"
      "INSERT INTO sqlite_schema SELECT * FROM as_made;");
  expect_refused(Errc::corrupt, "has two owners");
}

TEST_F(Refusal, TagOfAnotherBlockOrSequenceIsCorrupt) {
  create_with_rows();
  const Tag good = tag_on_disk(Copy::a, 1);
  Tag other_block = good;
  other_block.block = BlockIndex(8);
  Tag other_mask = good;
  other_mask.valid_mask = 1;
  Tag older = good;
  older.sequence = Sequence(1);
  for (const Tag& tag : {other_block, other_mask, older, Tag::cleared_at(good.sequence), Tag{}}) {
    rewrite_tag(1, tag);
    expect_refused(Errc::corrupt, "the map says block 1 at 2");
  }
  rewrite_tag(1, good);
  open();
}

TEST_F(Refusal, TagNewerThanTheMapIsStale) {
  create_with_rows();
  for (const std::uint64_t slot : {std::uint64_t{1}, std::uint64_t{40}}) {
    const Tag good = tag_on_disk(Copy::a, slot);
    Tag newer = tag_on_disk(Copy::a, 1);
    newer.sequence = Sequence(9);
    rewrite_tag(slot, newer);
    expect_refused(Errc::stale, "newer than the map");
    rewrite_tag(slot, good);
  }
}

TEST_F(Refusal, TagsThatDoNotVerifyInEitherCopyAreCorruptInOneAreNot) {
  create_with_rows();
  const std::array byte{std::byte{0x77}};
  const auto at = [&](Copy copy) { return ByteOffset(tag_sector(copy, 1) * kSectorSize + 40 + 5); };
  for (const Copy copy : kCopies) {
    spare().poke(at(copy), byte);
    open();
    EXPECT_EQ(rows().size(), 3U);
    kill();
    open();  // reads both copies
    close();
    EXPECT_TRUE(findings().empty()) << letter(copy);
  }
  spare().poke(at(Copy::a), byte);
  spare().poke(at(Copy::b), byte);
  expect_refused(Errc::corrupt, "the map says block 1 at 2");
}

TEST_F(Refusal, ShrunkenDeviceIsRefused) {
  create_with_rows();
  const auto bytes = save_spare();
  testing::FakeDisk smaller(ByteCount(6 * kMiB));
  smaller.poke(ByteOffset(0), std::span(bytes).first(6 * kMiB));
  auto store = SqliteMapStore::open(map_path(), {});
  ASSERT_OK(store);
  const auto refused = (*store)->attach_spare(1, smaller);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("has shrunk"), std::string::npos) << refused.error().message;
}

TEST_F(Refusal, GrownDeviceIsAcceptedByEitherSuperblock) {
  create_with_rows();
  for (const ByteOffset damaged : layout().superblock) {
    const auto bytes = save_spare();
    auto larger = testing::FakeDisk::with_logical_block(ByteCount(20 * kMiB), 512);
    larger->poke(ByteOffset(0), bytes);
    larger->poke(damaged, std::vector<std::byte>(512, std::byte{0x5A}));
    auto store = SqliteMapStore::open(map_path(), {.read_only = true});
    ASSERT_OK(store);
    ASSERT_OK((*store)->attach_spare(1, *larger));
    ASSERT_OK((*store)->load([](std::span<const RemapRow>) -> Result<void> { return {}; }));
  }
}

// SQLite applies one to the map as soon as somebody may write, however well the map was checked before.
TEST_F(Refusal, JournalBesideTheMapIsRefusedAndNotApplied) {
  create_with_rows();
  const std::string other = map_path() + ".other";
  std::filesystem::copy_file(map_path(), other);
  SQLite::Database database(other, SQLite::OPEN_READWRITE);
  ASSERT_EQ(database.execAndGet("PRAGMA journal_mode = DELETE").getString(), "delete");
  database.exec("UPDATE volume SET label = 'as it was'; BEGIN; UPDATE volume SET label = 'x'");
  ASSERT_EQ(sqlite3_db_cacheflush(database.getHandle()), SQLITE_OK);
  std::filesystem::copy_file(other + "-journal", map_path() + "-journal");
  expect_refused(Errc::unsupported, "-journal, another program's journal would change the map, move it away");
  EXPECT_TRUE(std::filesystem::exists(map_path() + "-journal"));
  const Files before = save_map();
  static_cast<void>(repair_map(map_path(), {{SpareId{1}, &spare()}}));
  EXPECT_EQ(save_map().content, before.content);
  // Its program has emptied it: that is nothing.
  std::filesystem::resize_file(map_path() + "-journal", 0);
  EXPECT_TRUE(try_open().has_value());
}

TEST_F(Refusal, LogOfAnotherMapPutBesideThisOneIsNoticed) {
  create_with_rows();
  open();
  commit({{put_remapped(9, 9), erase(1)}, {}, {}});
  const Files crashed = save_map();
  kill();
  std::filesystem::remove(map_path());
  std::filesystem::remove(map_path() + "-wal");
  std::filesystem::remove(map_path() + "-shm");
  create_with_rows();
  Files mixed = save_map();
  mixed.content["-wal"] = crashed.content.at("-wal");
  restore_map(mixed);
  const auto refused = try_open();
  EXPECT_FALSE(refused.has_value());
}

}  // namespace
}  // namespace remapfs::store
