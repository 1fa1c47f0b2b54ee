// SPDX-License-Identifier: Apache-2.0
#include "store/sql.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "unit/store/store_fixture.hpp"

// However a map is opened: what is in it cannot make SQLite do more than read rows.

namespace remapfs::store {
namespace {

class OpenDatabase : public StoreTest, public ::testing::WithParamInterface<SqlAccess> {};

TEST_P(OpenDatabase, IsDefensive) {
  create();
  const auto database = open_database(map_path(), GetParam());
  ASSERT_TRUE(database) << describe(database.error());
  sqlite3* const handle = (*database)->getHandle();
  const auto setting = [handle](int which) {
    int value = -1;
    EXPECT_EQ(sqlite3_db_config(handle, which, -1, &value), SQLITE_OK);
    return value;
  };
  EXPECT_EQ(setting(SQLITE_DBCONFIG_DEFENSIVE), 1);
  EXPECT_EQ(setting(SQLITE_DBCONFIG_TRUSTED_SCHEMA), 0);
  EXPECT_EQ(setting(SQLITE_DBCONFIG_ENABLE_TRIGGER), 0);
  EXPECT_EQ(setting(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE), 1);
  EXPECT_EQ(sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, -1), 0);
  EXPECT_LE(sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, -1), 1 << 16);
  EXPECT_LE(sqlite3_limit(handle, SQLITE_LIMIT_EXPR_DEPTH, -1), 100);
  EXPECT_LE(sqlite3_limit(handle, SQLITE_LIMIT_TRIGGER_DEPTH, -1), 1);
  EXPECT_EQ((*database)->execAndGet("PRAGMA mmap_size").getInt(), 0);
  EXPECT_EQ((*database)->execAndGet("PRAGMA cell_size_check").getInt(), 1);
  const bool writes = GetParam() == SqlAccess::write;
  const auto write = [&] { (*database)->exec("UPDATE volume SET label = 'x'"); };
  if (writes) {
    EXPECT_NO_THROW(write());
  } else {
    EXPECT_THROW(write(), SQLite::Exception);
  }
}

TEST_P(OpenDatabase, FollowsNoLinkThatTookTheNameOfTheMap) {
  create();
  const std::string moved = map_path() + ".moved";
  const std::string victim = map_path() + ".victim";
  std::filesystem::rename(map_path(), moved);
  std::ofstream(victim).close();
  for (const std::string& target : {victim, moved}) {
    std::filesystem::remove(map_path());
    std::filesystem::create_symlink(target, map_path());
    const auto database = open_database(map_path(), GetParam());
    ASSERT_FALSE(database) << target;
    EXPECT_EQ(database.error().code, Errc::not_found) << describe(database.error());
  }
  EXPECT_EQ(std::filesystem::file_size(victim), 0U);
}

INSTANTIATE_TEST_SUITE_P(Accesses, OpenDatabase, ::testing::Values(SqlAccess::look, SqlAccess::read, SqlAccess::write));

}  // namespace
}  // namespace remapfs::store
