// SPDX-License-Identifier: Apache-2.0
// bench_table_instructions QUESTION ENTRIES COUNT: asks the remap table COUNT questions and does nothing else worth
// mentioning that depends on COUNT. Run twice under callgrind, the difference tells what one question costs.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "questions.hpp"

namespace {

using namespace remapfs;
using namespace remapfs::bench;

struct Question {
  const char* name;
  Layout layout;
  Questions blocks;
  bool whole_range;
};
constexpr Question kAll[] = {
    {"untouched_1MiB", runs_of<16>, far_misses, true},
    {"touched_1MiB", runs_of<16>, hits, true},
    {"remapped_1MiB", neighbouring_blocks, range_starts, true},
    {"miss_far", runs_of<16>, far_misses, false},
    {"miss_near", runs_of<16>, near_misses, false},
    {"hit", runs_of<16>, hits, false},
    {"hit_isolated", runs_of<1>, hits, false},
    {"hit_runs_of_256", runs_of<256>, hits, false},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Question& question : kAll) {
    if (argc != 4 || std::strcmp(argv[1], question.name) != 0) continue;
    const std::uint64_t entries = std::strtoull(argv[2], nullptr, 10);
    const std::size_t count = std::strtoull(argv[3], nullptr, 10);
    const std::vector<std::uint64_t> blocks = question.layout(entries);
    Ours ours(entries);
    for (std::uint64_t i = 0; i < blocks.size(); ++i) ours.insert(blocks[i], mapping_of(i));
    const std::vector<std::uint64_t> asked = question.blocks(blocks);
    std::uint64_t answers = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t block = asked[i % asked.size()];
      if (question.whole_range) {
        look_up_range(ours, block, [&](ByteRange) { ++answers; });
      } else {
        answers += ours.find(block) ? 1 : 0;
      }
    }
    std::printf("%llu\n", static_cast<unsigned long long>(answers));
    return 0;
  }
  std::fputs("usage: bench_table_instructions QUESTION ENTRIES COUNT, where QUESTION is one of\n", stderr);
  for (const Question& question : kAll) std::fprintf(stderr, "  %s\n", question.name);
  return 1;
}
