// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string_view>

#include "exchange/line_reader.hpp"

namespace remapfs::testing {

// A text as a file that gives out at most `piece` bytes at once. The text must outlive the reader.
inline exchange::LineReader lines_of(std::string_view text, std::size_t piece = 1U << 20U) {
  return {[text, piece](std::span<char> buffer) mutable -> Result<std::size_t> {
            const std::size_t count = std::min({text.size(), buffer.size(), piece});
            text.copy(buffer.data(), count);
            text.remove_prefix(count);
            return count;
          },
          "list"};
}

}  // namespace remapfs::testing
