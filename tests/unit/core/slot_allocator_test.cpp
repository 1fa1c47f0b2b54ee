// SPDX-License-Identifier: Apache-2.0
#include "core/slot_allocator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "remapfs/remap_table.hpp"
#include "unit/core/random_seed.hpp"

namespace remapfs {
namespace {

std::unique_ptr<SlotAllocator> make(std::uint64_t slots) { return SlotAllocator::create(slots).value(); }

TEST(SearchableBitmap, FindsTheNextMemberAtEverySizeAndBoundary) {
  for (const std::uint64_t size : {1U, 2U, 63U, 64U, 65U, 127U, 128U, 4095U, 4096U, 4097U, 262144U, 262145U}) {
    SearchableBitmap bitmap(size);
    EXPECT_EQ(bitmap.next(0), 0U);
    EXPECT_EQ(bitmap.next(size - 1), size - 1);
    EXPECT_EQ(bitmap.next(size), std::nullopt);
    EXPECT_FALSE(bitmap.contains(size));
    for (std::uint64_t i = 0; i < size; ++i) bitmap.remove(i);
    EXPECT_EQ(bitmap.next(0), std::nullopt) << size;
    bitmap.insert(size - 1);
    EXPECT_EQ(bitmap.next(0), size - 1);
    EXPECT_EQ(bitmap.next(size - 1), size - 1);
  }
  EXPECT_EQ(SearchableBitmap(0).next(0), std::nullopt);
}

TEST(SearchableBitmap, AgreesWithAnOrderedSet) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  for (const std::uint64_t size : {100U, 5000U, 300000U}) {
    SearchableBitmap bitmap(size);
    std::set<std::uint64_t> model;
    for (std::uint64_t i = 0; i < size; ++i) bitmap.remove(i);
    for (int i = 0; i < 30000; ++i) {
      const std::uint64_t index = random() % size;
      if (random() % 2 == 0 && model.size() < 200) {
        bitmap.insert(index);
        model.insert(index);
      } else if (!model.empty()) {
        auto victim = model.lower_bound(index);
        if (victim == model.end()) victim = model.begin();
        bitmap.remove(*victim);
        model.erase(victim);
      }
      const std::uint64_t from = random() % (size + 2);
      const auto next = model.lower_bound(from);
      ASSERT_EQ(bitmap.next(from), next == model.end() ? std::nullopt : std::optional(*next)) << "seed " << seed;
    }
  }
}

TEST(SlotAllocator, HandsOutEverySlotOnceInAscendingOrder) {
  const auto slots = make(1000);
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(slots->try_allocate(), SlotIndex(i));
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
  EXPECT_EQ(slots->try_allocate_run(5), std::nullopt);
  EXPECT_EQ(slots->free(), 0U);
  EXPECT_EQ(slots->usable(), 1000U);
}

TEST(SlotAllocator, SpareWithoutSlotsHasNone) {
  const auto slots = make(0);
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
  EXPECT_EQ(slots->try_allocate_run(1), std::nullopt);
  EXPECT_FALSE(slots->mark_used(SlotIndex(0)));
  EXPECT_FALSE(slots->retire(SlotIndex(0)));
  EXPECT_EQ(slots->free(), 0U);
}

TEST(SlotAllocator, AbsurdSizesAreErrors) {
  EXPECT_EQ(SlotAllocator::create(kMaxSlotsPerSpare + 1).error().code, Errc::invalid);
}

TEST(SlotAllocator, ReleasedSlotRestsUntilTheSearchComesRound) {
  const auto slots = make(4);
  EXPECT_EQ(slots->try_allocate(), SlotIndex(0));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(1));
  slots->release(SlotIndex(0));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(2));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(3));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(0));
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
}

TEST(SlotAllocator, SkippedSlotsAreThereWhenTheSearchComesRound) {
  const auto slots = *SlotAllocator::create(5);
  slots->skip(3);
  for (const std::uint64_t slot : {3, 4, 0}) EXPECT_EQ(slots->try_allocate(), SlotIndex(slot));
  slots->skip(1000);  // to the first one again
  for (const std::uint64_t slot : {1, 2}) EXPECT_EQ(slots->try_allocate(), SlotIndex(slot));
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
}

TEST(SlotAllocator, RunsContinueBehindThePreviousAllocation) {
  const auto slots = make(100);
  EXPECT_EQ(slots->try_allocate_run(10), (SlotRun{SlotIndex(0), 10}));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(10));
  EXPECT_EQ(slots->try_allocate_run(5), (SlotRun{SlotIndex(11), 5}));
  EXPECT_EQ(slots->free(), 84U);
  EXPECT_EQ(slots->try_allocate_run(0), std::nullopt);
}

TEST(SlotAllocator, RunPassesOverRowsThatAreTooShort) {
  const auto slots = make(100);
  for (const std::uint64_t used : {2U, 5U, 30U}) ASSERT_TRUE(slots->mark_used(SlotIndex(used)));
  for (std::uint64_t slot = 31; slot < 100; ++slot) ASSERT_TRUE(slots->mark_used(SlotIndex(slot)));
  EXPECT_EQ(slots->try_allocate_run(10), (SlotRun{SlotIndex(6), 10}));
}

TEST(SlotAllocator, RunTakesTheLongestRowWhenNoneIsLongEnough) {
  const auto slots = make(20);
  for (const std::uint64_t used : {2U, 8U, 12U, 19U}) ASSERT_TRUE(slots->mark_used(SlotIndex(used)));
  EXPECT_EQ(slots->try_allocate_run(100), (SlotRun{SlotIndex(13), 6}));
  EXPECT_EQ(slots->try_allocate_run(~std::uint64_t{0}), (SlotRun{SlotIndex(3), 5}));
}

TEST(SlotAllocator, AllocationAfterLoadingGoesOnBehindTheHighestUsedSlot) {
  const auto slots = make(10);
  for (const std::uint64_t used : {6U, 1U}) ASSERT_TRUE(slots->mark_used(SlotIndex(used)));
  EXPECT_EQ(slots->try_allocate(), SlotIndex(7));
}

TEST(SlotAllocator, MarkUsedRefusesWhatIsTakenRetiredOrOutside) {
  const auto slots = make(10);
  EXPECT_TRUE(slots->mark_used(SlotIndex(3)));
  EXPECT_FALSE(slots->mark_used(SlotIndex(3)));
  EXPECT_TRUE(slots->retire(SlotIndex(4)));
  EXPECT_FALSE(slots->mark_used(SlotIndex(4)));
  EXPECT_FALSE(slots->mark_used(SlotIndex(10)));
  EXPECT_FALSE(slots->mark_used(SlotIndex(~std::uint64_t{0})));
  EXPECT_EQ(slots->free(), 8U);
}

TEST(SlotAllocator, RetiredSlotsAreNeverHandedOutNorCounted) {
  const auto slots = make(3);
  EXPECT_EQ(slots->try_allocate(), SlotIndex(0));
  EXPECT_TRUE(slots->retire(SlotIndex(0)));   // a used one
  EXPECT_TRUE(slots->retire(SlotIndex(1)));   // a free one
  EXPECT_FALSE(slots->retire(SlotIndex(1)));  // again
  EXPECT_EQ(slots->total(), 3U);
  EXPECT_EQ(slots->usable(), 1U);
  EXPECT_EQ(slots->free(), 1U);
  EXPECT_EQ(slots->try_allocate(), SlotIndex(2));
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
}

TEST(SlotAllocatorDeathTest, ReleasingWhatIsNotUsedIsABrokenInvariant) {
  const auto slots = make(3);
  EXPECT_DEATH(slots->release(SlotIndex(0)), "does not hold");
  EXPECT_DEATH(slots->release(SlotIndex(3)), "does not hold");
}

TEST(SlotAllocator, SlotRetiredInUseIsNotFreeWhenItIsReleased) {
  const auto slots = make(2);
  ASSERT_EQ(slots->try_allocate(), SlotIndex(0));
  EXPECT_TRUE(slots->retire(SlotIndex(0)));
  slots->release(SlotIndex(0));
  EXPECT_EQ(slots->free(), 1U);
  EXPECT_EQ(slots->try_allocate(), SlotIndex(1));
  EXPECT_EQ(slots->try_allocate(), std::nullopt);
}

TEST(SlotAllocator, AgreesWithASetOfFreeSlots) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  constexpr std::uint64_t kSlots = 5000;
  const auto slots = make(kSlots);
  std::set<std::uint64_t> free;
  std::vector<std::uint64_t> used;
  std::uint64_t retired = 0;
  for (std::uint64_t i = 0; i < kSlots; ++i) free.insert(free.end(), i);
  const auto take = [&](std::uint64_t slot) {
    ASSERT_EQ(free.erase(slot), 1U) << slot << " seed " << seed;
    used.push_back(slot);
  };
  const auto any_used = [&] {
    std::swap(used[random() % used.size()], used.back());
    const std::uint64_t slot = used.back();
    used.pop_back();
    return slot;
  };
  for (int i = 0; i < 200000; ++i) {
    const bool filling = i / 20000 % 2 == 0;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
        if (filling || random() % 4 == 0) {
          const auto slot = slots->try_allocate();
          ASSERT_EQ(slot.has_value(), !free.empty());
          if (slot) take(slot->value());
        }
        break;
      case 3:
        if (const auto run = slots->try_allocate_run(1 + random() % 40)) {
          ASSERT_GE(run->count, 1U);
          for (std::uint64_t k = 0; k < run->count; ++k) take(run->first.value() + k);
        } else {
          ASSERT_TRUE(free.empty());
        }
        break;
      case 4: {
        const std::uint64_t slot = random() % kSlots;
        ASSERT_EQ(slots->mark_used(SlotIndex(slot)), free.contains(slot));
        if (free.contains(slot)) take(slot);
        break;
      }
      case 5:
        if (!used.empty() && random() % 200 == 0) {
          ASSERT_TRUE(slots->retire(SlotIndex(any_used())));
          ++retired;
        }
        break;
      default:
        for (int k = 0; k < (filling ? 1 : 12) && !used.empty(); ++k) {
          const std::uint64_t slot = any_used();
          slots->release(SlotIndex(slot));
          free.insert(slot);
        }
    }
    if (HasFatalFailure()) return;
    ASSERT_EQ(slots->free(), free.size());
    ASSERT_EQ(slots->usable(), kSlots - retired);
    ASSERT_EQ(free.size() + used.size() + retired, kSlots);
  }
}

TEST(SlotAllocator, AlmostFullSpareOfTenMillionSlotsIsSearchedFast) {
  constexpr std::uint64_t kSlots = 10'000'000;
  const auto slots = make(kSlots);
  ASSERT_EQ(slots->try_allocate_run(kSlots), (SlotRun{SlotIndex(0), kSlots}));
  // The only free slot is each time as far away as can be. A linear search would look at 10^12 bits.
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const SlotIndex slot(i % 2 == 0 ? kSlots - 1 - i : i);
    slots->release(slot);
    ASSERT_EQ(slots->try_allocate(), slot);
  }
  const auto taken = std::chrono::steady_clock::now() - start;
  EXPECT_LT(taken, std::chrono::seconds(1));
}

TEST(SlotAllocator, ThreadsNeverGetTheSameSlot) {
  constexpr std::uint64_t kSlots = 3000;
  const auto slots = make(kSlots);
  std::vector<std::atomic<int>> owners(kSlots);
  std::atomic<std::uint64_t> shared{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      std::vector<SlotIndex> mine;
      for (int i = 0; i < 20000; ++i) {
        if (mine.size() < 700 && random() % 2 == 0) {
          const auto run = slots->try_allocate_run(1 + random() % 4);
          for (std::uint64_t k = 0; run && k < run->count; ++k) {
            const SlotIndex slot = run->first + k;
            if (owners[slot.value()].fetch_add(1) != 0) ++shared;
            mine.push_back(slot);
          }
        } else if (!mine.empty()) {
          owners[mine.back().value()].fetch_sub(1);
          slots->release(mine.back());
          mine.pop_back();
        }
      }
      for (const SlotIndex slot : mine) {
        owners[slot.value()].fetch_sub(1);
        slots->release(slot);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared, 0U);
  EXPECT_EQ(slots->free(), kSlots);
}

}  // namespace
}  // namespace remapfs
