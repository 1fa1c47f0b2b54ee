// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs::cli {

// "4096", "64K", "1.5G" is none: a whole number and one of K M G T (powers of 1024, either case), none means bytes.
// Errors: invalid.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
// "64M", "64M/s": bytes a second. Errors: invalid.
[[nodiscard]] Result<std::uint64_t> parse_rate(std::string_view text);

// "17", "0x11", "16-31", "0x10-0x1f": block numbers and ranges with both ends included, as half-open ranges.
// Errors: invalid.
[[nodiscard]] Result<BlockRange> parse_blocks(std::string_view text);
[[nodiscard]] Result<std::vector<BlockRange>> parse_blocks(std::span<const std::string> texts);

}  // namespace remapfs::cli
