// SPDX-License-Identifier: Apache-2.0
#include "exchange/number.hpp"

#include <charconv>

namespace remapfs::exchange {

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_constant(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_number(text.substr(2), 16);
  if (text.size() > 1 && text.front() == '0') return parse_number(text, 8);
  return parse_number(text, 10);
}

}  // namespace remapfs::exchange
