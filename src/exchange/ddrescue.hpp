// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <span>

#include "exchange/damage_list.hpp"
#include "exchange/line_reader.hpp"

// Map files of GNU ddrescue. Source: its manual of version 1.27, "Mapfile structure".
//
// Shape: comments from a # at the beginning of a line or after a blank to the end of the line; one status line,
//   POSITION STATUS [PASS]; then blocks, POSITION SIZE STATUS, in order and without overlaps. Numbers as integer
//   constants of C++, the pass decimal. What no block lists has not been tried. Positions are those on the disk.

namespace remapfs::exchange {

// Reads a map file to its end: bad sectors (-) are lost, blocks that failed and were not looked at closely (* and /)
// weak, the others (? and +) nothing. Errors: invalid, with the line; those of reader and list.
Result<void> read_ddrescue(LineReader& lines, DamageList& list);

// Writes a map file of the whole disk that ddrescue takes: lost is -, weak is /, the rest +.
void write_ddrescue(std::span<const DamagedRun> runs, ByteCount disk_size, std::ostream& out);

}  // namespace remapfs::exchange
