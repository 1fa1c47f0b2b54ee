// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "remapfs/dirty_map.hpp"

namespace remapfs {
namespace {

ByteRange bytes(std::uint64_t begin, std::uint64_t end) { return {ByteOffset(begin), ByteOffset(end)}; }

TEST(DirtyMap, EverythingIsDirtyAtFirst) {
  const auto map = *DirtyMap::create(ByteCount(10 * 4096 + 512), BlockGeometry(4096));
  EXPECT_EQ(map->left().value(), 11U * 4096);
  EXPECT_EQ(map->take(ByteOffset(0), 4 * 4096), bytes(0, 4 * 4096));
  EXPECT_EQ(map->take(ByteOffset(0), 1), bytes(4 * 4096, 5 * 4096)) << "a granule at least";
  EXPECT_EQ(map->take(ByteOffset(9 * 4096 + 5), 1U << 20U), bytes(9 * 4096, 10 * 4096 + 512)) << "never past the end";
  EXPECT_EQ(map->take(ByteOffset(9 * 4096), 1U << 20U), std::nullopt);
  EXPECT_EQ(map->take(ByteOffset(0), 1U << 20U), bytes(5 * 4096, 9 * 4096));
  EXPECT_EQ(map->left().value(), 0U);
}

TEST(DirtyMap, MarksEveryGranuleThatIsTouched) {
  const auto map = *DirtyMap::create(ByteCount(1U << 20U), BlockGeometry(4096));
  while (map->take(ByteOffset(0), 1U << 20U)) {
  }
  map->mark(bytes(4095, 4097));
  map->mark(bytes(70 * 4096, 70 * 4096 + 1));
  map->mark(bytes(70 * 4096, 70 * 4096));
  map->mark(bytes(8 << 20U, 9 << 20U));
  EXPECT_EQ(map->left().value(), 3U * 4096);
  EXPECT_EQ(map->take(ByteOffset(0), 1U << 20U), bytes(0, 2 * 4096));
  EXPECT_EQ(map->take(ByteOffset(0), 1U << 20U), bytes(70 * 4096, 71 * 4096));
  EXPECT_EQ(map->take(ByteOffset(0), 1U << 20U), std::nullopt);
}

// A list of flags says the same, whatever is done.
TEST(DirtyMap, AgreesWithAList) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    const std::uint64_t blocks = random() % 300 + 1;
    const std::uint64_t size = blocks * 4096 - random() % 8 * 512;
    const auto map = *DirtyMap::create(ByteCount(size), BlockGeometry(4096));
    std::vector<bool> dirty(blocks, true);
    for (int step = 0; step < 500; ++step) {
      const std::uint64_t begin = random() % size;
      if (random() % 2 == 0) {
        const std::uint64_t end = std::min(size, begin + random() % 60000 + 1);
        map->mark(bytes(begin, end));
        for (std::uint64_t block = begin / 4096; block <= (end - 1) / 4096; ++block) dirty[block] = true;
        continue;
      }
      const std::uint64_t most = random() % 100000;
      std::uint64_t first = begin / 4096;
      while (first < blocks && !dirty[first]) ++first;
      const auto taken = map->take(ByteOffset(begin), most);
      ASSERT_EQ(taken.has_value(), first < blocks);
      if (!taken) continue;
      std::uint64_t last = first;
      while (last < blocks && dirty[last] && last - first < std::max<std::uint64_t>(1, most / 4096))
        dirty[last++] = false;
      ASSERT_EQ(*taken, bytes(first * 4096, std::min(size, last * 4096)));
    }
    ASSERT_EQ(map->left().value(), static_cast<std::uint64_t>(std::count(dirty.begin(), dirty.end(), true)) * 4096);
  }
}

TEST(DirtyMap, HugeDiskTakesNoMoreMemoryThanItMay) {
  const std::uint64_t size = std::uint64_t{64} << 40U;
  const auto map = *DirtyMap::create(ByteCount(size), BlockGeometry(512));
  EXPECT_EQ(map->left().value(), size);
  const auto taken = map->take(ByteOffset(size - 1), 1);
  EXPECT_EQ(*taken, bytes(size - size / DirtyMap::kMostGranules, size));
}

// What is marked while somebody takes is taken, sooner or later, and counted once.
TEST(DirtyMap, NothingIsLostBetweenMarkAndTake) {
  constexpr std::uint64_t kBlocks = 512;
  const auto map = *DirtyMap::create(ByteCount(kBlocks * 4096), BlockGeometry(4096));
  std::vector<std::atomic<std::uint64_t>> changed(kBlocks);
  std::vector<std::uint64_t> copied(kBlocks);
  std::atomic<bool> enough = false;
  std::vector<std::thread> writers;
  for (std::uint64_t writer = 0; writer < 2; ++writer) {
    writers.emplace_back([&, writer] {
      std::mt19937_64 random(writer);
      while (!enough) {
        const std::uint64_t block = random() % kBlocks;
        changed[block].fetch_add(1, std::memory_order_relaxed);
        map->mark(bytes(block * 4096, block * 4096 + 1));
      }
    });
  }
  const auto copy_all = [&] {
    ByteOffset from(0);
    while (const auto taken = map->take(from, 65536)) {
      for (std::uint64_t block = taken->begin.value() / 4096; block < taken->end.value() / 4096; ++block) {
        copied[block] = changed[block].load(std::memory_order_relaxed);
      }
      from = taken->end;
    }
  };
  for (int i = 0; i < 2000; ++i) copy_all();
  enough = true;
  for (std::thread& writer : writers) writer.join();
  copy_all();
  for (std::uint64_t block = 0; block < kBlocks; ++block) ASSERT_EQ(copied[block], changed[block].load()) << block;
  EXPECT_EQ(map->left().value(), 0U);
}

}  // namespace
}  // namespace remapfs
