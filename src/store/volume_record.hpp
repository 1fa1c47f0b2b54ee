// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <string>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "store/spare_format.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::store {

// A spare as its row of `devices` describes it.
struct SpareRecord {
  ExpectedSpare expected;
  Sequence sequence;
};

// The tables `volume`, `devices`, `retired_slots` and `scrub`.
struct VolumeRecord {
  VolumeInfo info;
  std::uint64_t row_count = 0;
  std::uint64_t ruined_rows = 0;  // RemapRow::ruined(), once the rows were loaded
  std::uint64_t row_digest = 0;
  std::vector<SpareRecord> spares;         // in step with info.spares
  SpareRoll::Numbers known;                // of all spares that ever joined
  std::vector<SlotAddress> bad_tag_slots;  // retired because their tag cannot be written; rows may still be there

  // Position of a spare in both lists, or -1.
  [[nodiscard]] int position_of(SpareId id) const;
  // Nothing when map and spare are of one age: by the watermark and by the spares that the superblock names. Otherwise
  // `stale`, saying which side is older.
  [[nodiscard]] Result<void> compare_age(std::size_t position, const Superblock& superblock,
                                         const std::string& device) const;
  // The superblock of the spare at this position as far as the map can tell: without totals of rows and identity.
  [[nodiscard]] Superblock superblock_of(std::size_t position) const;
};

// Errors: foreign, too_new, unsupported (from before the first release), corrupt. Throws what SQLiteCpp throws.
Result<void> check_kind(SQLite::Database& database, const std::string& path);

// Reads them, checking kind and version of the database first and then every value.
// Errors: foreign, too_new, corrupt, store.
Result<VolumeRecord> read_volume_record(SQLite::Database& database, const std::string& path);
// The same without `retired_slots`, which takes the index of the rows as well, and `scrub`, and whatever tables are
// missing or do not belong: for a map that may be damaged.
Result<VolumeRecord> read_volume_and_devices(SQLite::Database& database, const std::string& path);

}  // namespace remapfs::store
