// SPDX-License-Identifier: Apache-2.0
#include "exchange/badblocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <ostream>

#include "exchange/number.hpp"

namespace remapfs::exchange {
namespace {

constexpr std::uint64_t kLargestUnit = std::uint64_t{1} << 30U;
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

}  // namespace

bool is_valid_list_unit(std::uint64_t bytes) { return bytes != 0 && bytes % kSectorSize == 0 && bytes <= kLargestUnit; }

Result<void> read_badblocks(LineReader& lines, std::uint64_t unit, Damage damage, DamageList& list) {
  for (;;) {
    auto line = lines.next();
    if (!line) return fail(std::move(line.error()));
    if (!*line) return {};
    std::string_view rest = **line;
    const std::string_view word = take_word(rest);
    if (word.empty() || word.front() == '#') continue;
    const auto number = parse_number(word, 10);
    if (!number) return lines.refuse("not a block number", "write one decimal number a line");
    if (!take_word(rest).empty()) return lines.refuse("more than a block number", "write one decimal number a line");
    // What does not fit 64 bits of bytes is outside any disk.
    const std::uint64_t begin = *number > kMax / unit ? kMax - 1 : *number * unit;
    const std::uint64_t end = begin > kMax - unit ? kMax : begin + unit;
    if (auto added = list.add(begin, end, damage, lines.number()); !added) return added;
  }
}

void write_badblocks(std::span<const DamagedRun> runs, std::uint64_t unit, std::ostream& out) {
  const std::uint64_t sectors = unit / kSectorSize;
  std::uint64_t next = 0;
  fmt::memory_buffer text;
  for (const DamagedRun& run : runs) {
    const std::uint64_t end = (run.end + sectors - 1) / sectors;
    for (std::uint64_t number = std::max(next, run.begin / sectors); number < end; ++number) {
      fmt::format_to(std::back_inserter(text), "{}\n", number);
      if (text.size() < (std::size_t{64} << 10U)) continue;
      out.write(text.data(), static_cast<std::streamsize>(text.size()));
      text.clear();
      if (!out) return;
    }
    next = std::max(next, end);
  }
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

}  // namespace remapfs::exchange
