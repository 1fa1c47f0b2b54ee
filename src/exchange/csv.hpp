// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string_view>

#include "exchange/damage_list.hpp"
#include "exchange/line_reader.hpp"
#include "remapfs/map_store.hpp"

// Entries as comma-separated values (RFC 4180): a line of column names, then an entry a line.
//
// Columns: those of `remapfs list`, and block_size, so that a line means the same for a volume with other blocks. Masks
//   are hexadecimal; read are also the signed numbers of the map.

namespace remapfs::exchange {

// What was taken for something else than it says.
struct CsvNotes {
  std::uint64_t remapped_as_lost = 0;  // blocks
};

// Reads entries: needed are `state` and one of `block` and `offset`. Lost entries lose the sectors of their valid_mask,
// or all without one. A remapped one is lost as a whole: its data is in a slot of another volume, and what is on the
// primary is old. Columns that say nothing about damage are not looked at.
// block_size: of the entries where the file does not say.
// Errors: invalid, with the line; those of reader and list.
Result<CsvNotes> read_csv(LineReader& lines, std::uint64_t block_size, DamageList& list);

// The line of column names, and one entry.
void write_csv_header(std::ostream& out);
void write_csv_row(const RemapRow& row, const BlockGeometry& geometry, std::string_view created_at,
                   std::string_view updated_at, std::ostream& out);

}  // namespace remapfs::exchange
