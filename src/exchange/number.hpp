// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace remapfs::exchange {

// The whole text as an unsigned number of 64 bits, without sign or blanks; nothing for anything else.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text, int base);
// The same as integer constants are written in C++: 10, 0x1F, 017.
[[nodiscard]] std::optional<std::uint64_t> parse_constant(std::string_view text);

}  // namespace remapfs::exchange
