// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cells.hpp"
#include "remapfs/error.hpp"

namespace faulty {

using remapfs::Errc;
using remapfs::fail;
using remapfs::Result;
using std::chrono::nanoseconds;

// Which accesses a rule is about.
enum class RuleOp : std::uint8_t { read, write, both, flush };

// When a rule bites on a cell it selects.
enum class RuleMode : std::uint8_t {
  sticky,         // always
  times,          // on the first `times` accesses of each cell
  until_written,  // until a write has covered the whole cell; of a rule about writes, that one fails as well
};

// Where a rule bites.
struct Selection {
  enum class Kind : std::uint8_t {
    none,     // op=flush: flushes have no place
    all,      // sectors=all
    sectors,  // sectors=A-B
    list,     // list=FILE
    count,    // count=N: that many cells drawn with the seed
    percent,  // percent=P: that share of the cells drawn with the seed
    grow,     // grow=N-per-SECONDS: cells drawn with the seed, more with time
  };
  Kind kind = Kind::none;
  std::vector<SectorRange> sectors;    // kind sectors
  std::string list_file;               // kind list
  std::uint64_t count = 0;             // kind count; kind grow: cells per period
  double percent = 0;                  // kind percent
  nanoseconds period{0};               // kind grow
  std::optional<std::uint64_t> limit;  // kind grow: never more cells than this
  std::uint64_t seed = 1;
  std::optional<SectorRange> within;  // kinds count, percent, grow: draw from these sectors only
};

// One rule as the user wrote it. It says what happens (error or corrupt, and slow), where, and when.
struct RuleSpec {
  Selection selection;
  RuleOp op = RuleOp::both;
  RuleMode mode = RuleMode::sticky;
  std::uint32_t times = 0;   // mode times
  std::optional<int> error;  // errno of the answer
  nanoseconds slow{0};       // the request takes this much longer
  bool corrupt = false;      // reads succeed with wrong bytes
  nanoseconds after{0};      // the rule starts this long after it was set
};

// Parses "sectors=1000-1010,op=read,error=EIO,mode=times:3". Ranges include both ends; numbers are decimal or 0x.
// A relative list file is taken from the directory `base`. The file is not read here.
// Errors: invalid, with a message that names the rule and the part that is wrong.
[[nodiscard]] Result<RuleSpec> parse_rule(std::string_view text, std::string_view base);

// The rule in its canonical form; parse_rule() of it gives the same rule.
[[nodiscard]] std::string to_text(const RuleSpec& rule);

// Reads a file of rules, one a line; '#' starts a comment. Relative list files are taken from the file's directory.
// Errors: not_found, permission, invalid with the line number.
[[nodiscard]] Result<std::vector<RuleSpec>> read_rule_file(const std::string& path);

// Reads a file of bad sectors: a number or a range A-B a line, as `badblocks -b 512` writes them; '#' starts a comment.
// Errors: not_found, permission, invalid with the line number.
[[nodiscard]] Result<std::vector<SectorRange>> read_sector_list(const std::string& path);

// "EIO" or "5" to 5. Errors: invalid; ENOSYS is refused, since the kernel would stop asking for the operation.
[[nodiscard]] Result<int> parse_errno(std::string_view name);
// 5 to "EIO".
[[nodiscard]] std::string errno_name(int number);

// A number, decimal or 0x, that is the whole text. Errors: invalid.
[[nodiscard]] Result<std::uint64_t> parse_number(std::string_view text);

// "1000" or "1000-1010", both ends included. Errors: invalid.
[[nodiscard]] Result<SectorRange> parse_sector_range(std::string_view text);

}  // namespace faulty
