// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <span>

#include "exchange/damage_list.hpp"
#include "exchange/line_reader.hpp"

// Lists as badblocks(8) writes them and e2fsck -l reads them: a decimal number a line, in units that the list does not
// tell. Here numbers have 64 bits; empty lines and lines that begin with # say nothing.

namespace remapfs::exchange {

// The unit of a list: a whole number of sectors, at most 1 GiB.
[[nodiscard]] bool is_valid_list_unit(std::uint64_t bytes);

// Reads a list to its end. Errors: invalid, with the line; those of reader and list.
Result<void> read_badblocks(LineReader& lines, std::uint64_t unit, Damage damage, DamageList& list);

// Writes every unit that one of the runs touches, once, ascending.
void write_badblocks(std::span<const DamagedRun> runs, std::uint64_t unit, std::ostream& out);

}  // namespace remapfs::exchange
