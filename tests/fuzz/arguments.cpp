// SPDX-License-Identifier: Apache-2.0
// Sizes and block numbers as people type them: what is accepted means what it says.
#include "cli/arguments.hpp"

#include <fmt/format.h>

#include "fuzz/fuzz_input.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  const std::string_view text = fuzz::as_text(data, size);
  if (const auto bytes = cli::parse_size(text)) {
    REMAPFS_INVARIANT(cli::parse_size(fmt::format("{}", *bytes)) == *bytes);
    REMAPFS_INVARIANT(!text.empty() && text.front() >= '0' && text.front() <= '9');
  }
  if (const auto blocks = cli::parse_blocks(text)) {
    REMAPFS_INVARIANT(!blocks->empty());
    const std::string shown = fmt::format("{}-{}", blocks->begin.value(), blocks->end.value() - 1);
    REMAPFS_INVARIANT(cli::parse_blocks(shown) == *blocks);
  }
  return 0;
}
