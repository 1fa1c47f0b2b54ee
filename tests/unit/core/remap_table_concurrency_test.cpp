// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "core/remap_table_factory.hpp"
#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

constexpr std::uint64_t kBlocks = 1U << 22U;
constexpr std::uint64_t kPermanent = 2048;  // blocks below this always have an entry
constexpr std::uint64_t kSpan = 12000;      // blocks above come and go
constexpr std::uint64_t kNever = 7;         // every block that is 7 modulo 16 and not permanent never has one
constexpr SectorMask kFull = 0xff;

// Whatever the version, an entry names its own block: a reader that is shown another block's value sees it.
constexpr std::uint64_t slot_of(std::uint64_t block, std::uint64_t version) { return block * 1024 + version % 1024; }
constexpr SectorMask partial_of(std::uint64_t block) { return 1 + block % 254; }

constexpr bool never_mapped(std::uint64_t block) { return block >= kPermanent && block % 16 == kNever; }

class Violations {
 public:
  void expect(bool good, const char* what, std::uint64_t block) {
    if (good) return;
    if (count_.fetch_add(1) < 5) ADD_FAILURE() << what << ", block " << block;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::atomic<std::uint64_t> count_{0};
};

void check_mapping(Violations& violations, std::uint64_t block, const Mapping& mapping) {
  violations.expect(mapping.where.slot.value() / 1024 == block, "a mapping belongs to its block", block);
  violations.expect(mapping.where.spare == 1 + block % 200, "a spare belongs to its block", block);
  violations.expect(mapping.valid_mask == kFull || mapping.valid_mask == partial_of(block),
                    "a mask belongs to its block", block);
  violations.expect(!never_mapped(block), "a block that never had an entry has none", block);
}

Mapping mapping_for(std::uint64_t block, std::uint64_t version, bool partial) {
  return {EntryState::remapped,
          {static_cast<SpareId>(1 + block % 200), SlotIndex(slot_of(block, version))},
          partial ? partial_of(block) : kFull};
}

void read_until(const std::atomic<bool>& stop, const RemapTable& table, Violations& violations, std::uint64_t seed,
                std::uint64_t& reads) {
  std::mt19937_64 random(seed);
  const BlockGeometry geometry(4096);
  while (!stop.load(std::memory_order_relaxed)) {
    ++reads;
    const std::uint64_t block = random() % kSpan;
    if (const auto found = table.find(BlockIndex(block))) check_mapping(violations, block, *found);

    const std::uint64_t permanent = random() % kPermanent;
    const auto found = table.find(BlockIndex(permanent));
    violations.expect(found.has_value(), "a permanent entry is always found", permanent);
    if (found) check_mapping(violations, permanent, *found);
    violations.expect(!table.nothing_mapped({BlockIndex(permanent), BlockIndex(permanent + 1)}),
                      "the filter knows a permanent entry", permanent);
    const auto next = table.next_entry(BlockIndex(permanent), BlockIndex(kBlocks));
    violations.expect(next == BlockIndex(permanent), "a permanent entry is the next one", permanent);

    const std::uint64_t first = random() % kSpan;
    const ByteRange range{geometry.begin_of(BlockIndex(first)),
                          geometry.begin_of(BlockIndex(first + 1 + random() % 300))};
    ByteOffset at = range.begin;
    table.for_each_run(range, [&](const remapfs::Run& run) {
      violations.expect(run.range.begin == at && !run.range.empty(), "runs have no gaps", first);
      at = run.range.end;
      const BlockRange blocks = geometry.blocks_touching(run.range);
      for (std::uint64_t b = blocks.begin.value(); b < blocks.end.value(); ++b) {
        if (run.kind == RunKind::primary) violations.expect(b >= kPermanent, "permanent entries are no primary run", b);
        if (run.kind != RunKind::primary) violations.expect(!never_mapped(b), "an unmapped block is a primary run", b);
        if (run.kind == RunKind::slot) {
          const std::uint64_t slot = run.first_slot.slot.value() + (b - blocks.begin.value());
          violations.expect(slot / 1024 == b, "a slot run shows each block's slot", b);
        }
      }
      return true;
    });
    violations.expect(at == range.end, "runs reach the end", first);
  }
}

void change(RemapTable& table, testing::ScarceMemory& memory, std::uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);
  std::uint64_t version = 0;
  for (int round = 0; round < rounds; ++round) {
    // Now and then growth is refused, so that layers come and merge under the readers.
    memory.largest = round % 4 == 3 ? 16384 : std::size_t{1} << 30U;
    const std::uint64_t fill = 200 + random() % 8000;
    for (std::uint64_t i = 0; i < fill; ++i) {
      const std::uint64_t block = random() % kSpan;
      if (never_mapped(block)) continue;
      table.assign(BlockIndex(block), mapping_for(block, ++version, random() % 3 == 0));
    }
    for (std::uint64_t block = kPermanent; block < kSpan; ++block) {
      if (random() % 8 != 0) table.erase(BlockIndex(block));
    }
    for (std::uint64_t block = 0; block < kPermanent; block += 1 + random() % 16) {
      table.assign(BlockIndex(block), mapping_for(block, ++version, random() % 2 == 0));
    }
  }
}

TEST(RemapTableConcurrency, ReadersSeeWholeEntriesWhileWritersChangeGrowAndShrink) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(::testing::Message() << "REMAPFS_TEST_SEED=" << seed);
  testing::ScarceMemory memory;
  const auto table = RemapTableFactory::create(kBlocks, BlockGeometry(4096), memory).value();
  for (std::uint64_t block = 0; block < kPermanent; ++block) {
    table->assign(BlockIndex(block), mapping_for(block, 0, false));
  }
  std::atomic<bool> stop{false};
  Violations violations;
  std::uint64_t reads[3] = {};
  std::vector<std::thread> readers;
  for (std::uint64_t i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] { read_until(stop, *table, violations, seed + 10 + i, reads[i]); });
  }
  const std::uint64_t requests_before = memory.requests;
  std::vector<std::thread> writers;
  for (std::uint64_t i = 0; i < 2; ++i) {
    writers.emplace_back([&, i] { change(*table, memory, seed + i, 40); });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(violations.count(), 0U);
  EXPECT_GT(memory.requests - requests_before, 20U) << "arrays were replaced under the readers";
  for (const std::uint64_t count : reads) EXPECT_GT(count, 0U);
  // Nobody reads any more: replaced arrays are free.
  const std::uint64_t held = table->memory_bytes();
  EXPECT_LE(held, memory.in_use + 4096);
}

TEST(RemapTableConcurrency, RunsThatFormAndBreakNeverShowAnotherBlocksSlot) {
  // Windows of 16 blocks whose slots stand in line, in places that change: a slot tells its block and the version.
  constexpr std::uint64_t kWindows = 64;
  constexpr std::uint64_t kRunBlocks = kWindows * 16;
  constexpr std::uint64_t kVersion = 1U << 20U;
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE(::testing::Message() << "REMAPFS_TEST_SEED=" << seed);
  const BlockGeometry geometry(4096);
  const auto table = RemapTable::create(kBlocks, geometry).value();
  const auto assign = [&](std::uint64_t block, std::uint64_t version) {
    table->assign(BlockIndex(block), {EntryState::remapped, {1, SlotIndex(version * kVersion + block)}, kFull});
  };
  for (std::uint64_t block = 0; block < kRunBlocks; ++block) assign(block, 1);

  std::atomic<bool> stop{false};
  Violations violations;
  std::atomic<std::uint64_t> long_runs{0};
  std::vector<std::thread> readers;
  for (std::uint64_t i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      std::mt19937_64 random(seed + i);
      std::vector<std::uint64_t> newest(kRunBlocks, 0);  // version that this thread has seen of each block
      const auto saw = [&](std::uint64_t block, std::uint64_t slot) {
        violations.expect(slot % kVersion == block, "a slot belongs to its block", block);
        violations.expect(slot / kVersion >= newest[block], "an entry does not go back", block);
        newest[block] = std::max(newest[block], slot / kVersion);
      };
      while (!stop.load(std::memory_order_relaxed)) {
        const std::uint64_t single = random() % kRunBlocks;
        const auto found = table->find(BlockIndex(single));
        // Blocks that are 15 modulo 16 come and go.
        violations.expect(found.has_value() || single % 16 == 15, "a block that only changes is always found", single);
        if (found) saw(single, found->where.slot.value());
        const std::uint64_t first = random() % kRunBlocks;
        const std::uint64_t end = std::min(kRunBlocks, first + 1 + random() % 80);
        table->for_each_run({geometry.begin_of(BlockIndex(first)), geometry.begin_of(BlockIndex(end))},
                            [&](const remapfs::Run& run) {
                              const BlockRange blocks = geometry.blocks_touching(run.range);
                              if (blocks.size() >= 16) ++long_runs;
                              for (std::uint64_t b = blocks.begin.value(); b < blocks.end.value(); ++b) {
                                if (run.kind == RunKind::slot) {
                                  saw(b, run.first_slot.slot.value() + (b - blocks.begin.value()));
                                } else {
                                  violations.expect(b % 16 == 15, "a block that only changes is in a slot", b);
                                }
                              }
                              return true;
                            });
      }
    });
  }
  std::mt19937_64 random(seed + 100);
  // At least as long as it takes the readers to begin and to see something.
  for (std::uint64_t version = 2; version < 3000 || (long_runs <= 1000 && version < 1'000'000); ++version) {
    const std::uint64_t first = random() % kRunBlocks;
    const std::uint64_t end = std::min(kRunBlocks, first + 1 + random() % 40);
    for (std::uint64_t block = first; block < end; ++block) assign(block, version);
    const std::uint64_t last_of_window = random() % kWindows * 16 + 15;
    table->erase(BlockIndex(last_of_window));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(violations.count(), 0U);
  EXPECT_GT(long_runs, 100U);
}

TEST(RemapTableConcurrency, RegionOfTwoBlocksNeverLosesTheOneThatStays) {
  // The narrowest race of the filter: one block of a region comes and goes, its neighbour must never be hidden.
  const auto table = RemapTable::create(kBlocks, BlockGeometry(4096)).value();
  table->assign(BlockIndex(33), mapping_for(33, 0, false));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> hidden{0};
  std::atomic<std::uint64_t> wrong{0};
  std::latch started(2);
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      started.count_down();
      while (!stop.load(std::memory_order_relaxed)) {
        const std::uint64_t stays = 33;
        if (const auto found = table->find(BlockIndex(stays))) {
          if (table->nothing_mapped({BlockIndex(32), BlockIndex(48)})) ++hidden;
          if (found->where.slot.value() / 1024 != stays) ++wrong;
        } else {
          ++hidden;
        }
      }
    });
  }
  started.wait();
  for (std::uint64_t version = 0; version < 50000; ++version) {
    table->assign(BlockIndex(34), mapping_for(34, version, version % 2 == 0));
    table->erase(BlockIndex(34));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(hidden, 0U);
  EXPECT_EQ(wrong, 0U);
}

TEST(RemapTableConcurrency, ManyShortLivedThreadsReadManyTables) {
  std::vector<std::unique_ptr<RemapTable>> tables;
  for (int i = 0; i < 20; ++i) tables.push_back(RemapTable::create(kBlocks, BlockGeometry(4096)).value());
  std::atomic<std::uint64_t> wrong{0};
  for (std::uint64_t round = 0; round < 50; ++round) {
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < tables.size(); ++i) {
          const std::uint64_t block = round * 100 + t;
          if (t % 2 == 0) tables[i]->assign(BlockIndex(block), mapping_for(block, i, false));
          for (std::uint64_t b = 0; b <= block; b += 50) {
            const auto found = tables[i]->find(BlockIndex(b));
            if (found && found->where.slot.value() != slot_of(b, i)) ++wrong;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(wrong, 0U);
  for (const auto& table : tables) EXPECT_EQ(table->size(), 50U * 4);
}

}  // namespace
}  // namespace remapfs
