// SPDX-License-Identifier: Apache-2.0
// Map files of ddrescue: what is accepted, written again and read again, says the same.
#include "exchange/ddrescue.hpp"

#include <sstream>

#include "fuzz/fuzz_input.hpp"
#include "support/text_source.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  using namespace remapfs::exchange;
  constexpr ByteCount kDisk((64U << 20U) + 512);
  DamageList list(kDisk);
  auto lines = testing::lines_of(fuzz::as_text(data, size), 7);
  if (!read_ddrescue(lines, list)) return 0;
  std::ostringstream out;
  write_ddrescue(list.runs(), kDisk, out);
  const std::string text = out.str();
  DamageList again(kDisk);
  auto written = testing::lines_of(text);
  REMAPFS_INVARIANT(read_ddrescue(written, again).has_value());
  REMAPFS_INVARIANT(again.runs() == list.runs());
  return 0;
}
