// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "core/hash_layer.hpp"
#include "core/remap_table_factory.hpp"
#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

using Model = std::map<std::uint64_t, Mapping>;

struct Scenario {
  const char* name;
  std::uint64_t block_size;
  std::uint64_t block_count;
  std::uint64_t span;  // changes happen in [0, span) and in the last `span` blocks of the disk
  int operations;
  bool scarce;  // memory comes and goes
};

class RemapTableModel : public ::testing::TestWithParam<Scenario> {
 protected:
  std::uint64_t any_block() {
    const std::uint64_t block = random_() % span_;
    return random_() % 4 == 0 ? GetParam().block_count - 1 - block : block;
  }

  Mapping any_mapping() {
    Mapping mapping;
    mapping.state = static_cast<EntryState>(random_() % 4);
    if (random_() % 2 == 0) mapping.state = EntryState::remapped;
    mapping.where = {static_cast<SpareId>(1 + random_() % 2), SlotIndex(random_() % 1000)};
    switch (random_() % 3) {
      case 0: mapping.valid_mask = random_() & geometry_.full_mask(); break;
      default: mapping.valid_mask = geometry_.full_mask();
    }
    return mapping;
  }

  void assign(std::uint64_t block, const Mapping& mapping) {
    table_->assign(BlockIndex(block), mapping);
    model_[block] = mapping;
  }

  // Serves a request block by block from the model and from the runs; both must say the same of every byte.
  void check_runs(ByteRange range) {
    ByteOffset at = range.begin;
    remapfs::Run before;
    table_->for_each_run(range, [&](const remapfs::Run& run) {
      EXPECT_EQ(run.range.begin, at);
      EXPECT_FALSE(run.range.empty());
      at = run.range.end;
      const BlockRange blocks = geometry_.blocks_touching(run.range);
      for (BlockIndex block = blocks.begin; block < blocks.end; ++block) {
        const auto entry = model_.find(block.value());
        RunKind kind = RunKind::primary;
        if (entry != model_.end() && entry->second.state != EntryState::weak) {
          const bool whole =
              entry->second.state == EntryState::remapped && entry->second.valid_mask == geometry_.full_mask();
          kind = whole ? RunKind::slot : RunKind::attention;
        }
        EXPECT_EQ(run.kind, kind) << block.value();
        if (kind == RunKind::slot && run.kind == kind) {
          const std::uint64_t index = block.value() - blocks.begin.value();
          EXPECT_EQ(entry->second.where, (SlotAddress{run.first_slot.spare, run.first_slot.slot + index}));
        }
      }
      if (run.kind == RunKind::attention) {
        EXPECT_EQ(blocks.size(), 1U);
      }
      // Maximal: two neighbours are one run if they could be.
      if (!before.range.empty() && before.kind == run.kind) {
        EXPECT_NE(run.kind, RunKind::primary);
        if (run.kind == RunKind::slot) {
          const std::uint64_t length = geometry_.blocks_touching(before.range).size();
          EXPECT_NE(run.first_slot, (SlotAddress{before.first_slot.spare, before.first_slot.slot + length}));
        }
      }
      before = run;
      return true;
    });
    EXPECT_EQ(at, std::max(range.begin, range.end));
  }

  void check_queries() {
    const std::uint64_t block = any_block();
    const auto entry = model_.find(block);
    const auto found = table_->find(BlockIndex(block));
    ASSERT_EQ(found.has_value(), entry != model_.end()) << block;
    if (found) {
      ASSERT_EQ(*found, entry->second) << block;
    }
    ASSERT_EQ(table_->size(), model_.size());

    const std::uint64_t first = any_block();
    const std::uint64_t end = std::min(first + random_() % (2 * span_), GetParam().block_count);
    const auto next = model_.lower_bound(first);
    const bool any = next != model_.end() && next->first < end;
    if (any) {
      ASSERT_FALSE(table_->nothing_mapped({BlockIndex(first), BlockIndex(end)}));
    }
    const auto next_entry = table_->next_entry(BlockIndex(first), BlockIndex(end));
    ASSERT_EQ(next_entry, any ? std::optional(BlockIndex(next->first)) : std::nullopt) << first << "-" << end;

    const std::uint64_t bytes = geometry_.block_size();
    const ByteOffset begin(geometry_.begin_of(BlockIndex(any_block())) + random_() % bytes);
    const std::uint64_t disk_end = GetParam().block_count * bytes;
    const ByteOffset stop(std::min(begin.value() + random_() % (600 * bytes), disk_end));
    check_runs({begin, stop});
  }

  void check_everything() {
    Model all;
    table_->for_each([&](BlockIndex block, const Mapping& mapping) { all.emplace(block.value(), mapping); });
    ASSERT_EQ(all, model_);
    BlockIndex from(0);
    for (const auto& [block, mapping] : model_) {
      ASSERT_EQ(table_->next_entry(from, BlockIndex(GetParam().block_count)), BlockIndex(block));
      ASSERT_EQ(table_->find(BlockIndex(block)), mapping);
      from = BlockIndex(block + 1);
    }
  }

  std::uint64_t seed_ = testing::test_seed();
  std::mt19937_64 random_{seed_};
  BlockGeometry geometry_{GetParam().block_size};
  std::uint64_t span_ = GetParam().span;
  testing::ScarceMemory memory_;
  std::unique_ptr<RemapTable> table_ = RemapTableFactory::create(GetParam().block_count, geometry_, memory_).value();
  Model model_;
};

TEST_P(RemapTableModel, AnswersLikeAnOrderedMap) {
  SCOPED_TRACE(::testing::Message() << "REMAPFS_TEST_SEED=" << seed_);
  constexpr std::size_t kPlenty = std::numeric_limits<std::size_t>::max() / 4;
  std::uint64_t growing = 60;  // chance of an assign, changed now and then so that the table grows and shrinks
  for (int i = 0; i < GetParam().operations; ++i) {
    if (i % 5000 == 0) growing = random_() % 2 == 0 ? 75 : 25;
    if (GetParam().scarce && i % 1000 == 0) {
      // Enough for overflow layers of the smallest size, never for growth; then plenty again.
      memory_.largest = random_() % 2 == 0 ? kPlenty : HashLayer::bytes_of(HashLayer::kMinPlaces);
    }
    if (random_() % 100 < growing) {
      const std::uint64_t count = random_() % 5 == 0 ? 1 + random_() % 20 : 1;
      const std::uint64_t first = any_block();
      const std::uint64_t step = random_() % 3;
      if (random_() % 2 == 0) {
        ASSERT_TRUE(table_->reserve(count));
        memory_.budget = random_() % 2 == 0 ? 0 : kPlenty;
      }
      Mapping mapping = any_mapping();
      for (std::uint64_t k = 0; k < count && first + k < GetParam().block_count; ++k) {
        assign(first + k, mapping);
        if (step != 0) mapping.where.slot += step;
      }
      memory_.budget = kPlenty;
      table_->unreserve(count);
    } else if (!model_.empty()) {
      auto victim = model_.lower_bound(any_block());
      if (victim == model_.end()) victim = model_.begin();
      for (std::uint64_t k = random_() % 8; k != ~std::uint64_t{0} && victim != model_.end(); --k) {
        ASSERT_TRUE(table_->erase(BlockIndex(victim->first)));
        victim = model_.erase(victim);
      }
    }
    check_queries();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
    if (i % 4999 == 0) check_everything();
    if (HasFatalFailure()) return;
  }
  check_everything();
  while (!model_.empty()) {
    ASSERT_TRUE(table_->erase(BlockIndex(model_.begin()->first)));
    model_.erase(model_.begin());
    if (model_.size() % 64 == 0) check_queries();
    if (HasFailure()) return;
  }
  EXPECT_TRUE(table_->nothing_mapped({BlockIndex(0), BlockIndex(GetParam().block_count)}));
}

// Regions of 16 blocks; regions larger than the erase looks through; the largest disk.
INSTANTIATE_TEST_SUITE_P(Scenarios, RemapTableModel,
                         ::testing::Values(Scenario{"SmallDisk512", 512, 3000, 1500, 60000, false},
                                           Scenario{"Dense4096", 4096, 1U << 24U, 20000, 120000, false},
                                           Scenario{"Sparse4096", 4096, 1U << 30U, 1U << 20U, 60000, false},
                                           Scenario{"Blocks32768", 32768, 1U << 24U, 5000, 60000, false},
                                           Scenario{"HugeRegions", 4096, std::uint64_t{1} << 40U, 100000, 40000, false},
                                           Scenario{"LargestDisk", 512, RemapTable::kMaxBlocks, 20000, 20000, false},
                                           Scenario{"ScarceMemory", 4096, 1U << 24U, 20000, 60000, true}),
                         [](const auto& scenario) { return std::string(scenario.param.name); });

}  // namespace
}  // namespace remapfs
