// SPDX-License-Identifier: Apache-2.0
#include "store/schema.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <tuple>
#include <vector>

namespace remapfs::store {

// The states of a row are compared one by one: for a list of three SQLite 3.40 makes a table, for every row it writes.
const char* const kSchemaSql = R"sql(
CREATE TABLE volume (
  -- One row: the volume as a whole. Times everywhere are UTC, ISO 8601 with Z.
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  uuid        TEXT    NOT NULL,  -- identifies the volume; every spare carries it too
  label       TEXT    NOT NULL,  -- a name for people
  block_size  INTEGER NOT NULL,  -- remap unit in bytes: a power of two, 512 to 32768
  size_bytes  INTEGER NOT NULL,  -- size of the virtual disk, a multiple of 512
  created_at  TEXT    NOT NULL,
  clean       INTEGER NOT NULL CHECK (clean IN (0, 1)),  -- 1: the last user closed the map in order
  row_count   INTEGER NOT NULL,  -- number of rows in remaps
  row_digest  INTEGER NOT NULL,  -- XOR of the XXH3 hashes of all rows in remaps, a signed 64-bit number
  primary_stamp TEXT             -- when a primary that is a file was last written, as of the last close; NULL: not known
) STRICT;

CREATE TABLE devices (
  -- The members of the volume.
  id          INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 255),  -- 0: the primary; spares count from 1
  role        TEXT    NOT NULL CHECK (role IN ('primary', 'spare')),
  path        TEXT    NOT NULL,  -- where it was last
  uuid        TEXT,              -- of a spare, as in its superblock
  identity    TEXT    NOT NULL,  -- what the device must be like at every mount
  size_bytes  INTEGER NOT NULL,  -- of the device; of a spare: the part that is used
  first_byte  INTEGER NOT NULL DEFAULT 0,  -- where it begins on the device: a spare may be the end of a primary
  slots       INTEGER,           -- of a spare: number of slots
  first_slot  INTEGER,           -- of a spare: byte offset of slot 0, from first_byte
  state       TEXT    NOT NULL CHECK (state IN ('active', 'retired')),
  sequence    INTEGER NOT NULL,  -- of a spare: its last commit; the spare's watermark equals it or is one behind
  CHECK ((role = 'primary') = (id = 0)),
  CHECK ((role = 'spare') = (uuid IS NOT NULL AND slots IS NOT NULL AND first_slot IS NOT NULL))
) STRICT;

CREATE TABLE remaps (
  -- One row for each block that is not simply on the primary.
  block        INTEGER PRIMARY KEY CHECK (block >= 0),  -- number of the block on the primary; byte offset / block_size
  state        TEXT    NOT NULL CHECK (state = 'remapped' OR state = 'lost' OR state = 'weak'),
                                   -- remapped: the data is in a slot; lost: no slot, sectors cannot be read;
                                   -- weak: no slot, readable only after retries
  spare_id     INTEGER REFERENCES devices (id),  -- where the slot is; NULL when there is none
  slot         INTEGER CHECK (slot >= 0),        -- number of the slot on that spare; NULL when there is none
  valid_mask   INTEGER NOT NULL,   -- bit i (least significant first): sector i of the block can be read, on the slot
                                   -- if there is one, else on the primary; signed, 64 sectors all valid are -1
  written_mask INTEGER NOT NULL,   -- bit i: the slot has ever held sector i of this block; 0 without a slot
  sequence     INTEGER NOT NULL,   -- the spare's commit that made this row, as in the slot's tag; 0 without a slot
  cause        TEXT    NOT NULL,   -- why the row is as it is; write_error of a lost row: what can be read there is not the data
  error_count  INTEGER NOT NULL CHECK (error_count >= 0),  -- errors seen on this block so far
  created_at   TEXT    NOT NULL,
  updated_at   TEXT    NOT NULL,
  UNIQUE (spare_id, slot),
  CHECK ((state = 'remapped') = (spare_id IS NOT NULL)),
  CHECK ((state = 'remapped') = (slot IS NOT NULL)),
  CHECK ((state = 'remapped') = (sequence > 0)),
  CHECK (state = 'remapped' OR written_mask = 0)
) STRICT;

CREATE TABLE retired_slots (
  -- Slots that are never used again.
  spare_id    INTEGER NOT NULL REFERENCES devices (id),
  slot        INTEGER NOT NULL CHECK (slot >= 0),
  reason      TEXT    NOT NULL CHECK (reason IN ('slot', 'tag')),  -- slot: it failed; tag: its tag cannot be written
  at          TEXT    NOT NULL,
  PRIMARY KEY (spare_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE scrub (
  -- No row before the first scrub; then one: the scrub under way, or the last one.
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  state         TEXT    NOT NULL CHECK (state IN ('running', 'paused', 'stopped', 'finished')),
  next_block    INTEGER NOT NULL CHECK (next_block >= 0),     -- the first block that was not looked at yet
  rate          INTEGER NOT NULL CHECK (rate >= 0),           -- most bytes a second; 0: no limit
  moved_blocks  INTEGER NOT NULL CHECK (moved_blocks >= 0),   -- were weak, and went to a slot
  weak_blocks   INTEGER NOT NULL CHECK (weak_blocks >= 0),    -- are weak, and could not be moved
  lost_sectors  INTEGER NOT NULL CHECK (lost_sectors >= 0),   -- could not be read, and were not known to be lost
  unread_blocks INTEGER NOT NULL CHECK (unread_blocks >= 0),  -- took too long: nothing is known of them
  started_at    TEXT    NOT NULL,
  updated_at    TEXT    NOT NULL   -- of a finished scrub, its end
) STRICT;

CREATE TABLE smart (
  -- What drives said of themselves, one row for each time that they were asked; only the newest 2000 of each are
  -- kept. Unknown is NULL.
  id             INTEGER PRIMARY KEY,
  device_id      INTEGER NOT NULL CHECK (device_id BETWEEN 0 AND 255),
  at             TEXT    NOT NULL,
  drive          TEXT    NOT NULL,                           -- model and serial number
  passed         INTEGER CHECK (passed IN (0, 1)),           -- by the drive's own judgement
  reallocated    INTEGER CHECK (reallocated >= 0),           -- sectors
  pending        INTEGER CHECK (pending >= 0),               -- sectors that could not be read, and were not written since
  uncorrectable  INTEGER CHECK (uncorrectable >= 0),         -- errors told to the host
  wear_percent   INTEGER CHECK (wear_percent >= 0),          -- of flash memory
  temperature    INTEGER,                                    -- degrees Celsius
  power_on_hours INTEGER CHECK (power_on_hours >= 0)
) STRICT;

CREATE TABLE events (
  -- The history of the volume, newest last; only the newest 10000 are kept.
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
  at          TEXT    NOT NULL,
  kind        TEXT    NOT NULL,  -- one word
  block       INTEGER,           -- the block it is about, if it is about one
  detail      TEXT    NOT NULL
) STRICT;

CREATE VIEW remap_list AS
  -- The rows for people: byte offsets, masks in hexadecimal.
  SELECT r.block, r.block * v.block_size AS offset, r.state, r.spare_id, r.slot,
         printf('0x%016x', r.valid_mask) AS valid_mask, printf('0x%016x', r.written_mask) AS written_mask,
         r.sequence, r.cause, r.error_count, r.created_at, r.updated_at
    FROM remaps AS r, volume AS v ORDER BY r.block;

CREATE VIEW remap_summary AS
  -- How the volume stands, in one row. lost_sectors counts the sectors of the disk that cannot be read.
  WITH RECURSIVE
    sector (bit) AS (SELECT 0 UNION ALL SELECT bit + 1 FROM sector WHERE bit < 63),
    full (mask) AS (SELECT CASE block_size WHEN 32768 THEN -1 ELSE (1 << (block_size / 512)) - 1 END FROM volume)
  SELECT v.uuid, v.label, v.size_bytes, v.block_size,
         (SELECT count(*) FROM remaps WHERE state = 'remapped') AS remapped_blocks,
         (SELECT count(*) FROM remaps JOIN sector ON bit < v.block_size / 512 AND (~valid_mask >> bit) & 1
           WHERE valid_mask <> (SELECT mask FROM full) AND block * v.block_size + bit * 512 < v.size_bytes)
           AS lost_sectors,
         (SELECT count(*) FROM remaps WHERE state = 'weak') AS weak_blocks,
         (SELECT coalesce(sum(slots), 0) FROM devices WHERE state = 'active')
           - (SELECT count(*) FROM retired_slots AS t JOIN devices AS d ON d.id = t.spare_id WHERE d.state = 'active')
           AS slots_total,
         (SELECT count(*) FROM retired_slots) AS slots_retired,
         printf('0x%016x', v.row_digest) AS row_digest, v.clean
    FROM volume AS v;

CREATE VIEW remaps_by_region AS
  -- Where on the disk the rows are, by GiB: half-open byte ranges, number of blocks in each state.
  SELECT region << 30 AS begin_byte, min((region + 1) << 30, size_bytes) AS end_byte, count(*) AS blocks,
         sum(state = 'remapped') AS remapped, sum(state = 'lost') AS lost, sum(state = 'weak') AS weak
    FROM (SELECT (r.block * v.block_size) >> 30 AS region, r.state, v.size_bytes FROM remaps AS r, volume AS v)
   GROUP BY region ORDER BY region;
)sql";

namespace {

using SchemaEntry = std::tuple<std::string, std::string, std::string>;  // name, kind, text

// At most so many: of a map with very many, the first that is too much is reason enough.
std::vector<SchemaEntry> schema_of(SQLite::Database& database, const std::string& which, std::size_t most) {
  std::vector<SchemaEntry> entries;
  SQLite::Statement select(
      database, "SELECT name, type, ifnull(sql, '') FROM sqlite_schema WHERE " + which + " ORDER BY name, type");
  while (entries.size() < most && select.executeStep()) {
    entries.emplace_back(select.getColumn(0).getString(), select.getColumn(1).getString(),
                         select.getColumn(2).getString());
  }
  return entries;
}

// What ANALYZE makes, and nothing that only has such a name.
constexpr const char* kAllButStatistics =
    "NOT (type = 'table' AND sql IN ('CREATE TABLE sqlite_stat1(tbl,idx,stat)', "
    "'CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)'))";

const std::vector<SchemaEntry>& schema_as_made() {
  static const std::vector<SchemaEntry> made = [] {
    SQLite::Database model(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    model.exec(kSchemaSql);
    return schema_of(model, "1", 100);
  }();
  return made;
}

}  // namespace

std::string find_schema_difference(SQLite::Database& database) {
  const std::vector<SchemaEntry>& made = schema_as_made();
  const std::vector<SchemaEntry> there = schema_of(database, kAllButStatistics, made.size() + 1);
  const auto [here, expected] = std::mismatch(there.begin(), there.end(), made.begin(), made.end());
  if (here == there.end()) return expected == made.end() ? "" : std::get<0>(*expected);
  if (expected == made.end()) return std::get<0>(*here);
  return std::get<0>(std::min(*here, *expected));
}

std::string find_false_table(SQLite::Database& database) {
  SQLite::Statement find(database, "SELECT type, ifnull(sql, '') FROM sqlite_schema WHERE lower(name) = ?");
  for (const auto& [name, kind, text] : schema_as_made()) {
    if (kind != "table") continue;
    find.bind(1, name);
    while (find.executeStep()) {
      if (find.getColumn(0).getString() != kind || find.getColumn(1).getString() != text) return name;
    }
    find.reset();
  }
  return "";
}

}  // namespace remapfs::store
