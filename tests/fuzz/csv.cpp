// SPDX-License-Identifier: Apache-2.0
// Entries as comma-separated values: what is accepted becomes entries that, written and read again, say the same.
#include "exchange/csv.hpp"

#include <sstream>

#include "fuzz/fuzz_input.hpp"
#include "support/text_source.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  using namespace remapfs::exchange;
  constexpr ByteCount kDisk((64U << 20U) + 512);
  constexpr BlockGeometry kGeometry(4096);
  DamageList list(kDisk);
  auto lines = testing::lines_of(fuzz::as_text(data, size), 7);
  if (!read_csv(lines, kGeometry.block_size(), list)) return 0;
  const auto runs = by_block(list.runs(), kGeometry);
  std::ostringstream out;
  write_csv_header(out);
  for (const ImportRun& run : runs) {
    for (BlockIndex block = run.blocks.begin; block < run.blocks.end; ++block) {
      RemapRow row;
      row.block = block;
      row.state = run.lost != 0 ? EntryState::lost : EntryState::weak;
      row.valid_mask = kGeometry.full_mask() & ~run.lost;
      write_csv_row(row, kGeometry, "now", "now", out);
    }
  }
  const std::string text = out.str();
  DamageList again(kDisk);
  auto written = testing::lines_of(text);
  REMAPFS_INVARIANT(read_csv(written, 512, again).has_value());
  REMAPFS_INVARIANT(by_block(again.runs(), kGeometry) == runs);
  return 0;
}
