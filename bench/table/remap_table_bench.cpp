// SPDX-License-Identifier: Apache-2.0
// Cost of one question to the remap table, by number of entries, beside the other tables of peers.hpp. All of them hold
// the same entries and are asked the same questions, by one thread unless the name says otherwise. The library maps are
// sized in advance and, but for libcuckoo and the one behind a lock, unprotected.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "peers.hpp"
#include "questions.hpp"

namespace remapfs::bench {
namespace {

constexpr std::array<std::int64_t, 8> kEntryCounts{0, 1, 10, 100, 1000, 100'000, 1'000'000, 10'000'000};
constexpr std::int64_t kMostForList = 100'000;  // a question to more takes milliseconds
constexpr std::int64_t kMostForChains = 1'000'000;

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
Peer& peer_with(Layout layout, std::int64_t entries) {
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
    i = (i + 1) & (asked.size() - 1);
  }
  if constexpr (std::is_same_v<Peer, Ours>) {
    state.counters["bytes_per_entry"] = static_cast<double>(peer.table().memory_bytes()) /
                                        static_cast<double>(std::max<std::int64_t>(1, state.range(0)));
  }
}

// A thread that changes the table all the time: a new entry every ten microseconds, which is more than a disk can make
// durable, and an older one of its own removed.
template <class Peer>
class Writer {
 public:
  explicit Writer(Peer& peer) : thread_([this, &peer] { change(peer); }) {}
  ~Writer() {
    stop_ = true;
    thread_.join();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

 private:
  void change(Peer& peer) const {
    constexpr std::uint64_t kKept = 1000;
    const auto block = [](std::uint64_t i) { return kBlocks / 4 * 3 + i * 61 % (kBlocks / 8); };
    auto next = std::chrono::steady_clock::now();
    std::uint64_t i = 0;
    for (; !stop_; ++i) {
      while (std::chrono::steady_clock::now() < next) {
      }
      next += std::chrono::microseconds(10);
      peer.insert(block(i), mapping_of(i));
      if (i >= kKept) peer.erase(block(i - kKept));
    }
    for (std::uint64_t left = i < kKept ? 0 : i - kKept; left < i; ++left) peer.erase(block(left));
  }

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

template <class Peer>
void ask_beside_writer(benchmark::State& state) {
  static Peer* peer = nullptr;
  static std::vector<std::uint64_t> asked;
  static std::optional<Writer<Peer>> writer;
  if (state.thread_index() == 0) {
    peer = &peer_with<Peer>(runs_of<16>, state.range(0));
    asked = hits(blocks_of(runs_of<16>, state.range(0)));
    writer.emplace(*peer);
  }
  std::size_t i = static_cast<std::size_t>(state.thread_index()) * 1000;
  // All threads wait for each other where the loop begins, so that the above is done.
  for (auto _ : state) {
    benchmark::DoNotOptimize(peer->find(asked[i]));
    i = (i + 1) & (kQuestions - 1);
  }
  if (state.thread_index() == 0) writer.reset();
}

template <class Peer>
void fill(benchmark::State& state) {
  const auto& blocks = blocks_of(runs_of<16>, state.range(0));
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
  const auto single = [&](const char* what, Questions questions, Layout layout = runs_of<16>) {
    named(what, [layout, questions](benchmark::State& state) { ask<Peer, false>(state, layout, questions); });
  };
  const auto range = [&](const char* what, Layout layout, Questions questions) {
    named(what, [layout, questions](benchmark::State& state) { ask<Peer, true>(state, layout, questions); });
  };
  single("miss_far", far_misses);
  range("untouched_1MiB", runs_of<16>, far_misses);
  if (entries == 0) return;
  single("hit", hits);
  single("miss_near", near_misses);
  range("touched_1MiB", runs_of<16>, hits);  // the rest of a run, then blocks without entries
  if (entries < 1000) return;
  single("hit_isolated", hits, runs_of<1>);
  single("hit_runs_of_256", hits, runs_of<256>);
  range("remapped_1MiB", neighbouring_blocks, range_starts);
  named("fill", fill<Peer>);
}

template <class Peer>
void add_beside_writer(std::int64_t entries) {
  for (const int readers : {1, 2}) {
    const std::string name = fmt::format("hit_{}_readers_and_writer/{}", readers, Peer::kName);
    benchmark::RegisterBenchmark(name.c_str(), ask_beside_writer<Peer>)->Arg(entries)->Threads(readers);
  }
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
    if (entries < 1000) continue;
    add_beside_writer<Ours>(entries);
    add_beside_writer<CuckooMap>(entries);
    add_beside_writer<LockedBoostMap>(entries);
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
