// SPDX-License-Identifier: Apache-2.0
#include "exchange/ddrescue.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <ostream>

#include "exchange/number.hpp"

namespace remapfs::exchange {
namespace {

// What ddrescue can hold: positions are signed there.
constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::string_view kPhases = "?*/-FG+";
constexpr std::string_view kStates = "?*/-+";
constexpr std::string_view kStatusAdvice = "write POSITION STATUS PASS, with a status of ?*/-FG+";
constexpr std::string_view kBlockAdvice = "write POSITION SIZE STATUS, with a status of ?*/-+";

std::string_view without_comment(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return line.substr(0, i);
  }
  return line;
}

bool is_one_of(std::string_view word, std::string_view characters) {
  return word.size() == 1 && characters.find(word.front()) != std::string_view::npos;
}

struct Words {
  std::array<std::string_view, 3> word;
  std::size_t count = 0;  // more than 3: too many
};

Words split(std::string_view line) {
  Words words;
  for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
    if (words.count < words.word.size()) words.word[words.count] = word;
    ++words.count;
  }
  return words;
}

Result<void> check_status_line(const Words& words, const LineReader& lines) {
  const bool good = (words.count == 2 || words.count == 3) && parse_constant(words.word[0]) &&
                    is_one_of(words.word[1], kPhases) &&
                    (words.count == 2 || parse_number(words.word[2], 10).value_or(0) > 0);
  if (!good) return lines.refuse("not the status line of a map file", kStatusAdvice);
  return {};
}

Result<void> add_block(const Words& words, const LineReader& lines, std::uint64_t& end, DamageList& list) {
  const auto begin = words.count == 3 ? parse_constant(words.word[0]) : std::nullopt;
  const auto size = words.count == 3 ? parse_constant(words.word[1]) : std::nullopt;
  if (!begin || !size || !is_one_of(words.word[2], kStates)) {
    return lines.refuse("not a block of a map file", kBlockAdvice);
  }
  if (*size == 0) return lines.refuse("a block without a size", kBlockAdvice);
  if (*begin > kLargest || *size > kLargest - *begin) {
    return lines.refuse("the block ends beyond 64 bits", "check the position and the size");
  }
  if (*begin < end) return lines.refuse("the block begins before the one above it ends", "put the blocks in order");
  end = *begin + *size;
  switch (words.word[2].front()) {
    case '-': return list.add(*begin, end, Damage::lost, lines.number());
    case '*':
    case '/': return list.add(*begin, end, Damage::weak, lines.number());
    default: return {};
  }
}

}  // namespace

Result<void> read_ddrescue(LineReader& lines, DamageList& list) {
  bool status_seen = false;
  std::uint64_t end = 0;
  for (;;) {
    auto line = lines.next();
    if (!line) return fail(std::move(line.error()));
    if (!*line) break;
    const Words words = split(without_comment(**line));
    if (words.count == 0) continue;
    auto taken = status_seen ? add_block(words, lines, end, list) : check_status_line(words, lines);
    if (!taken) return taken;
    status_seen = true;
  }
  if (!status_seen) return lines.refuse("no status line", "is this a map file of ddrescue?");
  return {};
}

void write_ddrescue(std::span<const DamagedRun> runs, ByteCount disk_size, std::ostream& out) {
  out << "# Mapfile. Created by remapfs: - lost, / weak, + the rest\n"
         "# current_pos  current_status  current_pass\n"
         "0x00000000     +               1\n"
         "#      pos        size  status\n";
  std::uint64_t next = 0;
  const auto put = [&](std::uint64_t end, char status) {
    if (end == next) return;
    out << fmt::format("0x{:08X}  0x{:08X}  {}\n", next, end - next, status);
    next = end;
  };
  for (const DamagedRun& run : runs) {
    put(run.begin * kSectorSize, '+');
    put(run.end * kSectorSize, run.damage == Damage::lost ? '-' : '/');
  }
  put(disk_size.value(), '+');
}

}  // namespace remapfs::exchange
