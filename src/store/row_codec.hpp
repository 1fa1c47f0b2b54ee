// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"

namespace remapfs::store {

// The columns RowColumns expects first in a SELECT, in its order.
#define REMAPFS_ROW_COLUMNS "block, state, spare_id, slot, valid_mask, written_mask, sequence, cause, error_count"

// The text of `state` in the map. Never called for poisoned.
[[nodiscard]] std::string_view state_text(EntryState state);

// The rows a statement goes through. Throws what SQLiteCpp throws.
class RowColumns {
 public:
  // The statement must stand on a row and outlive this.
  explicit RowColumns(SQLite::Statement& statement);

  // The row the statement stands on now. Errors: corrupt, for a state or cause that does not exist or a number out of
  // range.
  [[nodiscard]] Result<RemapRow> read() const;

 private:
  [[nodiscard]] std::uint64_t number(std::size_t column) const;

  // Each costs SQLiteCpp a shared pointer, which is too much to make them for every row.
  std::vector<SQLite::Column> columns_;
};

// The row a statement stands on, as RowColumns reads it.
[[nodiscard]] inline Result<RemapRow> read_row(SQLite::Statement& statement) { return RowColumns(statement).read(); }

// Gives a statement the row as its parameters 1 to 9, in the order of REMAPFS_ROW_COLUMNS. Throws what SQLiteCpp
// throws.
void bind_row(SQLite::Statement& statement, const RemapRow& row);

// A row's share of the digest of all rows. The digest is the XOR of all shares, so order plays no part, and a changed
// row is taken out and put back in without looking at the others.
[[nodiscard]] std::uint64_t row_digest(const RemapRow& row);
// The same for what the index over (spare_id, slot) holds of a row; 0 stands for NULL.
[[nodiscard]] std::uint64_t index_digest(std::uint64_t spare_id, std::uint64_t slot, std::uint64_t block);
// What the tag of the row's slot has to say, as one number, never 0.
[[nodiscard]] std::uint64_t tag_digest(BlockIndex block, Sequence sequence, SectorMask valid, SectorMask written);

// What a row must satisfy in this volume.
class RowRules {
 public:
  RowRules(const VolumeInfo& info, std::vector<Sequence> sequences);

  // Empty when the row is fine; otherwise what is wrong with it, about a row of the map or a change to it alike.
  [[nodiscard]] std::string problem(const RemapRow& row) const;
  // The same, and that the spare has committed the row's sequence.
  [[nodiscard]] std::string problem_of_committed(const RemapRow& row) const;

 private:
  struct Spare {
    SpareId id;
    std::uint64_t slots;
    Sequence sequence;
  };
  [[nodiscard]] const Spare* find(SpareId id) const;

  std::uint64_t blocks_;
  SectorMask full_mask_;
  std::vector<Spare> spares_;
};

}  // namespace remapfs::store
