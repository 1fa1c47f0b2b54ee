// SPDX-License-Identifier: Apache-2.0
// bench_fill_map MAP BLOCK_SIZE < PAIRS: makes an entry for every line "BLOCK SLOT" of PAIRS in the map of an unmounted
// volume with one spare, as if each block had been relocated. Blocks ascend. The slots' contents are left alone.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "support/large_map.hpp"

namespace {

using namespace remapfs;

struct Pair {
  std::uint64_t block;
  std::uint64_t slot;
};

RemapRow row_of(const Pair& pair, SectorMask all_sectors) {
  RemapRow row;
  row.block = BlockIndex(pair.block);
  row.state = EntryState::remapped;
  row.where = {1, SlotIndex(pair.slot)};
  row.valid_mask = all_sectors;
  row.written_mask = all_sectors;
  row.cause = Cause::write_error;
  row.error_count = 1;
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_fill_map MAP BLOCK_SIZE < PAIRS\n", stderr);
    return 1;
  }
  const std::uint64_t sectors = std::strtoull(argv[2], nullptr, 10) / kSectorSize;
  if (sectors == 0 || sectors > 64) {
    std::fputs("bench_fill_map: BLOCK_SIZE is 512 to 32768 bytes\n", stderr);
    return 1;
  }
  const SectorMask all_sectors = ~SectorMask{0} >> (64 - sectors);

  std::ios::sync_with_stdio(false);
  std::vector<Pair> pairs;
  for (Pair pair{}; std::cin >> pair.block >> pair.slot;) pairs.push_back(pair);
  if (!std::cin.eof()) {
    std::fputs("bench_fill_map: a line is not two numbers\n", stderr);
    return 2;
  }
  const auto added =
      testing::add_entries(argv[1], pairs.size(), [&](std::uint64_t i) { return row_of(pairs[i], all_sectors); });
  if (added) return 0;
  std::fprintf(stderr, "bench_fill_map: %s\n", describe(added.error()).c_str());
  return 2;
}
