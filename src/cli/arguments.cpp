// SPDX-License-Identifier: Apache-2.0
#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <optional>

namespace remapfs::cli {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_block_number(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_number(text.substr(2), 16);
  return parse_number(text, 10);
}

unsigned unit_shift(char unit) {
  switch (unit) {
    case 'K':
    case 'k': return 10;
    case 'M':
    case 'm': return 20;
    case 'G':
    case 'g': return 30;
    case 'T':
    case 't': return 40;
    default: return 0;
  }
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const unsigned shift = text.empty() ? 0 : unit_shift(text.back());
  const auto number = parse_number(shift == 0 ? text : text.substr(0, text.size() - 1), 10);
  if (!number) {
    return fail(Errc::invalid, fmt::format("not a size, {}, use a whole number and K, M, G or T", text));
  }
  if (*number > (kMax >> shift)) return fail(Errc::invalid, fmt::format("size is too large, {}, use less", text));
  return *number << shift;
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  if (text.ends_with("/s")) text.remove_suffix(2);
  return parse_size(text);
}

Result<BlockRange> parse_blocks(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_block_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_block_number(text.substr(dash + 1));
  if (!first || !last || *last == kMax) {
    return fail(Errc::invalid, fmt::format("not a block number or range, {}, use a number, 0xHEX or FIRST-LAST", text));
  }
  if (*last < *first) {
    return fail(Errc::invalid, fmt::format("range ends before it begins, {}, use FIRST-LAST", text));
  }
  return BlockRange{BlockIndex(*first), BlockIndex(*last + 1)};
}

Result<std::vector<BlockRange>> parse_blocks(std::span<const std::string> texts) {
  std::vector<BlockRange> ranges;
  ranges.reserve(texts.size());
  for (const std::string& text : texts) {
    auto range = parse_blocks(text);
    if (!range) return fail(range.error());
    ranges.push_back(*range);
  }
  return ranges;
}

}  // namespace remapfs::cli
