// SPDX-License-Identifier: Apache-2.0
// Rules of faulty-disk: a rule that is accepted has a canonical form that means the same.
#include "fuzz/fuzz_input.hpp"
#include "rule.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto rule = faulty::parse_rule(remapfs::fuzz::as_text(data, size), "/");
  if (!rule) return 0;
  const std::string text = faulty::to_text(*rule);
  const auto again = faulty::parse_rule(text, "/");
  REMAPFS_INVARIANT(again.has_value());
  REMAPFS_INVARIANT(faulty::to_text(*again) == text);
  return 0;
}
