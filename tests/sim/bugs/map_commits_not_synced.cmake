# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sql.cpp)
set(bug_find [==[
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA cache_size = -16384;");]==])
set(bug_replace [==[
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA cache_size = -16384;");
  if (remapfs::sim::bug("map_commits_not_synced")) database->exec("PRAGMA synchronous = OFF");]==])
