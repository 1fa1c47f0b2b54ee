// SPDX-License-Identifier: Apache-2.0
// Cost of one question to the remap table, by number of entries, beside the two things that one would write first: a
// linear list and std::unordered_map (both without any protection against concurrent changes).
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "remapfs/remap_table.hpp"

namespace {

using namespace remapfs;

constexpr std::uint64_t kBlocks = std::uint64_t{1} << 32U;  // 16 TiB
constexpr BlockGeometry kGeometry(4096);
constexpr std::uint64_t kRun = 16;  // bad blocks come in runs of this many

Mapping mapping_of(std::uint64_t i) { return {EntryState::remapped, {1, SlotIndex(i)}, kGeometry.full_mask()}; }

// Block numbers of the entries: runs spread over the first half of the disk.
std::vector<std::uint64_t> entry_blocks(std::uint64_t count) {
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> blocks;
  blocks.reserve(count);
  while (blocks.size() < count) {
    const std::uint64_t first = random() % (kBlocks / 2 / kRun) * kRun;
    for (std::uint64_t i = 0; i < kRun && blocks.size() < count; ++i) blocks.push_back(first + i);
  }
  return blocks;
}

struct Fixture {
  std::vector<std::uint64_t> blocks;  // of the entries
  std::unique_ptr<RemapTable> table;
  std::unordered_map<std::uint64_t, Mapping> map;
  std::vector<std::pair<std::uint64_t, Mapping>> list;
};

// Kept from one benchmark to the next, as building the large ones takes seconds.
Fixture& fixture(std::int64_t entries) {
  static std::int64_t current = -1;
  static Fixture made;
  if (current != entries) {
    made = {};
    made.blocks = entry_blocks(static_cast<std::uint64_t>(entries));
    made.table = RemapTable::create(kBlocks, kGeometry).value();
    std::uint64_t i = 0;
    for (const std::uint64_t block : made.blocks) {
      made.table->assign(BlockIndex(block), mapping_of(i));
      made.map.emplace(block, mapping_of(i));
      if (made.blocks.size() <= 1000) made.list.emplace_back(block, mapping_of(i));
      ++i;
    }
    current = entries;
  }
  return made;
}

// Blocks to ask for, in an order that caches cannot guess.
std::vector<std::uint64_t> questions(const Fixture& f, bool hits) {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> asked(1U << 16U);
  for (std::uint64_t& block : asked) {
    const bool from_entries = !f.blocks.empty();
    block = hits && from_entries ? f.blocks[random() % f.blocks.size()] : kBlocks / 2 + random() % (kBlocks / 2);
  }
  return asked;
}

// Blocks without entries right beside some that have them, where the filter cannot help.
std::vector<std::uint64_t> near_misses(const Fixture& f) {
  std::mt19937_64 random(3);
  std::vector<std::uint64_t> asked;
  while (asked.size() < (1U << 16U)) {
    const std::uint64_t block = f.blocks.empty() ? random() % kBlocks : f.blocks[random() % f.blocks.size()] | 15U;
    asked.push_back(f.map.contains(block) ? (block ^ 16U) : block);
  }
  return asked;
}

template <class Ask>
void ask_all(benchmark::State& state, const std::vector<std::uint64_t>& asked, Ask&& ask) {
  std::size_t i = 0;
  for (auto _ : state) {
    ask(asked[i]);
    i = (i + 1) % asked.size();
  }
}

void table_hit(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, true),
          [&](std::uint64_t block) { benchmark::DoNotOptimize(f.table->find(BlockIndex(block))); });
  state.counters["bytes_per_entry"] =
      static_cast<double>(f.table->memory_bytes()) / static_cast<double>(std::max<std::int64_t>(1, state.range(0)));
}
void map_hit(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, true), [&](std::uint64_t block) { benchmark::DoNotOptimize(f.map.find(block)); });
}
template <bool kHits>
void list_find(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, kHits), [&](std::uint64_t block) {
    const Mapping* found = nullptr;
    for (const auto& [number, mapping] : f.list) {
      if (number == block) {
        found = &mapping;
        break;
      }
    }
    benchmark::DoNotOptimize(found);
  });
}
void table_miss_far(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, false),
          [&](std::uint64_t block) { benchmark::DoNotOptimize(f.table->find(BlockIndex(block))); });
}
void table_miss_near(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, near_misses(f),
          [&](std::uint64_t block) { benchmark::DoNotOptimize(f.table->find(BlockIndex(block))); });
}
void map_miss(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, false), [&](std::uint64_t block) { benchmark::DoNotOptimize(f.map.find(block)); });
}

ByteRange megabyte_at(std::uint64_t block) {
  return {kGeometry.begin_of(BlockIndex(block)), kGeometry.begin_of(BlockIndex(block + 256))};
}

void table_untouched_mebibyte(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, false), [&](std::uint64_t block) {
    f.table->for_each_run(megabyte_at(block), [](const Run& run) { return benchmark::DoNotOptimize(run.range), true; });
  });
}
void map_untouched_mebibyte(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, false), [&](std::uint64_t block) {
    for (std::uint64_t i = 0; i < 256; ++i) benchmark::DoNotOptimize(f.map.find(block + i));
  });
}

// 1 MiB of which the first 64 KiB are remapped.
void table_touched_mebibyte(benchmark::State& state) {
  Fixture& f = fixture(state.range(0));
  ask_all(state, questions(f, true), [&](std::uint64_t block) {
    f.table->for_each_run(megabyte_at(block / kRun * kRun),
                          [](const Run& run) { return benchmark::DoNotOptimize(run.range), true; });
  });
}

// 1 MiB of which every block is remapped, in a table that holds nothing but neighbours.
void table_remapped_mebibyte(benchmark::State& state) {
  const auto table = RemapTable::create(kBlocks, kGeometry).value();
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t block = 0; block < entries; ++block) table->assign(BlockIndex(block), mapping_of(block));
  std::mt19937_64 random(4);
  std::vector<std::uint64_t> asked(1U << 12U);
  for (std::uint64_t& block : asked) block = random() % (entries - 255);
  ask_all(state, asked, [&](std::uint64_t block) {
    table->for_each_run(megabyte_at(block), [](const Run& run) { return benchmark::DoNotOptimize(run.range), true; });
  });
}
void map_remapped_mebibyte(benchmark::State& state) {
  std::unordered_map<std::uint64_t, Mapping> map;
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t block = 0; block < entries; ++block) map.emplace(block, mapping_of(block));
  std::mt19937_64 random(4);
  std::vector<std::uint64_t> asked(1U << 12U);
  for (std::uint64_t& block : asked) block = random() % (entries - 255);
  ask_all(state, asked, [&](std::uint64_t block) {
    for (std::uint64_t i = 0; i < 256; ++i) benchmark::DoNotOptimize(map.find(block + i));
  });
}

void table_fill(benchmark::State& state) {
  const std::vector<std::uint64_t> blocks = entry_blocks(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state) {
    const auto table = RemapTable::create(kBlocks, kGeometry).value();
    for (const std::uint64_t block : blocks) table->assign(BlockIndex(block), mapping_of(block));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

// Grouped by number of entries, so that each fixture is built once.
void register_all() {
  for (const std::int64_t entries : {0, 1, 1000, 1'000'000, 10'000'000}) {
    const auto add = [entries](const char* name, void (*run)(benchmark::State&)) {
      benchmark::RegisterBenchmark(name, run)->Arg(entries);
    };
    if (entries > 0) {
      add("hit/table", table_hit);
      add("hit/unordered_map", map_hit);
      if (entries <= 1000) add("hit/list", list_find<true>);
    }
    add("miss_far/table", table_miss_far);
    add("miss_near/table", table_miss_near);
    add("miss_far/unordered_map", map_miss);
    if (entries <= 1000) add("miss_far/list", list_find<false>);
    add("untouched_1MiB/table", table_untouched_mebibyte);
    add("untouched_1MiB/unordered_map", map_untouched_mebibyte);
    if (entries > 0) add("touched_1MiB/table", table_touched_mebibyte);
    if (entries >= 1000) {
      add("remapped_1MiB/table", table_remapped_mebibyte);
      add("remapped_1MiB/unordered_map", map_remapped_mebibyte);
      add("fill/table", table_fill);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
