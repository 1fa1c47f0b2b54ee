// SPDX-License-Identifier: Apache-2.0
// Cost of one question to the remap table, by number of entries, beside the other tables of peers.hpp. All of them hold
// the same entries and are asked the same questions, by one thread; the others are sized in advance and unprotected.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <unordered_set>
#include <vector>

#include "peers.hpp"

namespace remapfs::bench {
namespace {

constexpr std::uint64_t kRun = 16;  // bad blocks come in runs of this many
constexpr std::array<std::int64_t, 8> kEntryCounts{0, 1, 10, 100, 1000, 100'000, 1'000'000, 10'000'000};
constexpr std::int64_t kMostForList = 100'000;  // a question to more takes milliseconds
constexpr std::int64_t kMostForChains = 1'000'000;

Mapping mapping_of(std::uint64_t i) { return {EntryState::remapped, {1, SlotIndex(i)}, kGeometry.full_mask()}; }

// Block numbers of the entries: runs spread over the first half of the disk.
std::vector<std::uint64_t> scattered_blocks(std::uint64_t count) {
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> blocks;
  blocks.reserve(count);
  std::unordered_set<std::uint64_t> runs;
  while (blocks.size() < count) {
    const std::uint64_t first = random() % (kBlocks / 2 / kRun) * kRun;
    if (!runs.insert(first).second) continue;
    for (std::uint64_t i = 0; i < kRun && blocks.size() < count; ++i) blocks.push_back(first + i);
  }
  return blocks;
}
// Nothing but neighbours.
std::vector<std::uint64_t> neighbouring_blocks(std::uint64_t count) {
  std::vector<std::uint64_t> blocks(count);
  for (std::uint64_t i = 0; i < count; ++i) blocks[i] = i;
  return blocks;
}

using Layout = std::vector<std::uint64_t> (*)(std::uint64_t count);

struct Blocks {
  Layout layout = nullptr;
  std::int64_t entries = -1;
  std::vector<std::uint64_t> numbers;
};
// Kept from one benchmark to the next, like the peers below: building the large ones takes seconds.
const std::vector<std::uint64_t>& blocks_of(Layout layout, std::int64_t entries) {
  static Blocks kept;
  if (kept.layout != layout || kept.entries != entries) {
    kept = {layout, entries, layout(static_cast<std::uint64_t>(entries))};
  }
  return kept.numbers;
}

template <class Peer>
const Peer& peer_with(Layout layout, std::int64_t entries) {
  static std::unique_ptr<Peer> kept;
  static Layout kept_layout = nullptr;
  static std::int64_t kept_entries = -1;
  if (kept_layout != layout || kept_entries != entries) {
    kept.reset();
    kept = std::make_unique<Peer>(static_cast<std::uint64_t>(entries));
    std::uint64_t i = 0;
    for (const std::uint64_t block : blocks_of(layout, entries)) kept->insert(block, mapping_of(i++));
    kept_layout = layout;
    kept_entries = entries;
  }
  return *kept;
}

constexpr std::size_t kQuestions = 1U << 16U;

// Blocks to ask for, in an order that caches cannot guess.
std::vector<std::uint64_t> hits(const std::vector<std::uint64_t>& blocks) {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> asked(kQuestions);
  for (std::uint64_t& block : asked) block = blocks[random() % blocks.size()];
  return asked;
}
std::vector<std::uint64_t> far_misses(const std::vector<std::uint64_t>& /*blocks*/) {
  std::mt19937_64 random(3);
  std::vector<std::uint64_t> asked(kQuestions);
  for (std::uint64_t& block : asked) block = kBlocks / 2 + random() % (kBlocks / 2 - kRangeBlocks);
  return asked;
}
// Blocks without entries right beside some that have them, where the filter cannot help.
std::vector<std::uint64_t> near_misses(const std::vector<std::uint64_t>& blocks) {
  const std::unordered_set<std::uint64_t> taken(blocks.begin(), blocks.end());
  std::vector<std::uint64_t> asked = hits(blocks);
  for (std::uint64_t& block : asked) {
    while (taken.contains(block)) ++block;
  }
  return asked;
}
// Beginnings of ranges in the midst of neighbours.
std::vector<std::uint64_t> range_starts(const std::vector<std::uint64_t>& blocks) {
  std::mt19937_64 random(4);
  std::vector<std::uint64_t> asked(kQuestions / 16);
  for (std::uint64_t& block : asked) block = random() % (blocks.size() - (kRangeBlocks - 1));
  return asked;
}

using Questions = std::vector<std::uint64_t> (*)(const std::vector<std::uint64_t>& blocks);

template <class Peer, bool kWholeRange>
void ask(benchmark::State& state, Layout layout, Questions questions) {
  const Peer& peer = peer_with<Peer>(layout, state.range(0));
  const std::vector<std::uint64_t> asked = questions(blocks_of(layout, state.range(0)));
  std::size_t i = 0;
  for (auto _ : state) {
    if constexpr (kWholeRange) {
      look_up_range(peer, asked[i], [](const auto& answer) { benchmark::DoNotOptimize(answer); });
    } else {
      benchmark::DoNotOptimize(peer.find(asked[i]));
    }
    i = (i + 1) % asked.size();
  }
  if constexpr (std::is_same_v<Peer, Ours>) {
    state.counters["bytes_per_entry"] = static_cast<double>(peer.table().memory_bytes()) /
                                        static_cast<double>(std::max<std::int64_t>(1, state.range(0)));
  }
}

template <class Peer>
void fill(benchmark::State& state) {
  const auto& blocks = blocks_of(scattered_blocks, state.range(0));
  for (auto _ : state) {
    Peer peer(blocks.size());
    for (const std::uint64_t block : blocks) peer.insert(block, mapping_of(block));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

template <class Peer>
void add(std::int64_t entries) {
  const auto named = [entries](const char* what, auto run) {
    benchmark::RegisterBenchmark(fmt::format("{}/{}", what, Peer::kName).c_str(), run)->Arg(entries);
  };
  const auto single = [&](const char* what, Questions questions) {
    named(what, [questions](benchmark::State& state) { ask<Peer, false>(state, scattered_blocks, questions); });
  };
  const auto range = [&](const char* what, Layout layout, Questions questions) {
    named(what, [layout, questions](benchmark::State& state) { ask<Peer, true>(state, layout, questions); });
  };
  single("miss_far", far_misses);
  range("untouched_1MiB", scattered_blocks, far_misses);
  if (entries == 0) return;
  single("hit", hits);
  single("miss_near", near_misses);
  range("touched_1MiB", scattered_blocks, hits);  // the rest of a run, then blocks without entries
  if (entries < 1000) return;
  range("remapped_1MiB", neighbouring_blocks, range_starts);
  named("fill", fill<Peer>);
}

// Grouped by number of entries, so that each set of blocks is made once or twice.
void register_all() {
  for (const std::int64_t entries : kEntryCounts) {
    add<Ours>(entries);
    if (entries <= kMostForList) add<LinearList>(entries);
    if (entries <= kMostForChains) add<Chained256>(entries);
    add<StdMap>(entries);
    add<AbslMap>(entries);
    add<BoostMap>(entries);
    add<CuckooMap>(entries);
  }
}

}  // namespace
}  // namespace remapfs::bench

int main(int argc, char** argv) {
  remapfs::bench::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
