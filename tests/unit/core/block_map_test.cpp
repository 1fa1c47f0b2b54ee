// SPDX-License-Identifier: Apache-2.0
#include "core/block_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "unit/core/random_seed.hpp"
#include "unit/core/scarce_memory.hpp"

namespace remapfs {
namespace {

using testing::ScarceMemory;

std::uint64_t find(const BlockMap& map, std::uint64_t block) {
  const EpochGuard guard;
  return map.find(guard, block);
}

std::uint64_t places(const BlockMap& map) {
  const EpochGuard guard;
  return map.place_count(guard);
}

TEST(HashLayer, SizesHoldTheirEntriesAndNothingSmallerDoes) {
  for (std::uint64_t entries = 0; entries < 300000; ++entries) {
    const std::uint64_t size = HashLayer::places_for(entries);
    ASSERT_GE(HashLayer::limit_of(size), entries);
    ASSERT_EQ(size % kBlocksPerLine, 0U);
    ASSERT_LT(HashLayer::limit_of(size), size);
    if (entries == 0) continue;
    const std::uint64_t before = HashLayer::places_for(entries - 1);
    if (before != size) {
      ASSERT_LT(HashLayer::limit_of(before), entries) << size;
      if (size <= 65536) {
        ASSERT_EQ(size, before * 2);
      }
      if (size > 65536) {
        ASSERT_LE(size * 4, before * 5);
      }
    }
  }
}

TEST(HashLayer, EveryProbeSequenceVisitsEveryLine) {
  for (const std::uint64_t entries : {1U, 100U, 40000U, 50000U, 60000U, 70000U, 80000U, 100000U}) {
    const std::uint64_t size = HashLayer::places_for(entries);
    HashLayer* layer = HashLayer::create(process_memory(), size, nullptr);
    ASSERT_NE(layer, nullptr);
    // Filling it to the last place is what a sequence that misses lines could not do.
    for (std::uint64_t i = 0; i < size - 1; ++i) {
      const std::uint64_t block = i * 4;
      layer->occupy(*layer->probe(block, group_hash(block)).place, block, 1);
    }
    for (std::uint64_t i = 0; i < size - 1; ++i) {
      ASSERT_TRUE(layer->probe(i * 4, group_hash(i * 4)).found) << size;
    }
    for (std::uint64_t absent = 1; absent < 400; absent += 4) {
      ASSERT_FALSE(layer->probe(absent, group_hash(absent)).found) << size;
    }
    HashLayer::destroy(process_memory(), layer);
  }
}

TEST(BlockMap, StartsWith64PlacesDoublesAndHalves) {
  BlockMap map(process_memory());
  std::set<std::uint64_t> growing;
  std::set<std::uint64_t> shrinking;
  for (std::uint64_t block = 0; block < 40000; ++block) {
    ASSERT_TRUE(map.put(block, 1));
    growing.insert(places(map));
  }
  for (std::uint64_t block = 0; block < 40000; ++block) {
    ASSERT_EQ(map.erase(block), 1U);
    shrinking.insert(places(map));
  }
  std::set<std::uint64_t> powers;
  for (std::uint64_t size = 64; size <= 65536; size *= 2) powers.insert(size);
  EXPECT_EQ(growing, powers);
  EXPECT_EQ(shrinking, powers);
  EXPECT_EQ(map.size(), 0U);
}

TEST(BlockMap, ChurnOfEverNewKeysDoesNotGrowTheArray) {
  BlockMap map(process_memory());
  for (std::uint64_t block = 0; block < 200000; ++block) {
    ASSERT_TRUE(map.put(block, block + 1));
    if (block >= 100) {
      ASSERT_EQ(map.erase(block - 100), block - 100 + 1);
    }
    ASSERT_LE(places(map), 512U);
  }
  EXPECT_EQ(map.size(), 100U);
}

TEST(BlockMap, AlternatingChangesAtAnySizeRebuildRarely) {
  for (const std::uint64_t entries : {48U, 49U, 1000U, 48000U, 49152U, 60000U, 100000U, 250000U}) {
    ScarceMemory memory;
    BlockMap map(memory);
    for (std::uint64_t block = 0; block < entries; ++block) ASSERT_TRUE(map.put(block, 1));
    const std::uint64_t before = memory.requests;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      ASSERT_EQ(map.erase(i % 2), 1U);
      ASSERT_TRUE(map.put(i % 2, 1));
    }
    EXPECT_LE(memory.requests - before, 1U) << entries;
  }
}

TEST(BlockMap, RangeAgreesWithSingleLookups) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  BlockMap map(process_memory());
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t block = random() % 20000;
    if (random() % 3 == 0) {
      map.erase(block);
    } else {
      ASSERT_TRUE(map.put(block, random() | 1U));
    }
  }
  for (int i = 0; i < 300; ++i) {
    std::vector<std::uint64_t> values(random() % 300);
    const std::uint64_t first = random() % 20000;
    {
      const EpochGuard guard;
      map.find_range(guard, first, values);
    }
    for (std::uint64_t k = 0; k < values.size(); ++k) ASSERT_EQ(values[k], find(map, first + k)) << "seed " << seed;
  }
}

TEST(BlockMap, ScanFindsTheSmallestBlockOfTheRange) {
  BlockMap map(process_memory());
  for (const std::uint64_t block : {900U, 17U, 400U, 18U}) ASSERT_TRUE(map.put(block, 1));
  map.erase(17);
  const EpochGuard guard;
  EXPECT_EQ(map.scan_for_first(guard, {BlockIndex(0), BlockIndex(1000)}), BlockIndex(18));
  EXPECT_EQ(map.scan_for_first(guard, {BlockIndex(19), BlockIndex(900)}), BlockIndex(400));
  EXPECT_EQ(map.scan_for_first(guard, {BlockIndex(401), BlockIndex(900)}), std::nullopt);
}

// Keys as they come: what a drive, a striped array or an unlucky layout produces.
struct KeyPattern {
  std::string name;
  std::function<std::uint64_t(std::uint64_t)> key;
};

std::vector<KeyPattern> key_patterns() {
  std::vector<KeyPattern> patterns;
  patterns.push_back({"Random", [](std::uint64_t i) { return group_hash(i * 4) >> 9U; }});
  for (const std::uint64_t stride :
       {1ULL, 2ULL, 3ULL, 4ULL, 8ULL, 64ULL, 100ULL, 4096ULL, 1ULL << 20U, 1ULL << 32U, 1ULL << 36U}) {
    patterns.push_back({"Stride" + std::to_string(stride), [stride](std::uint64_t i) { return i * stride; }});
  }
  patterns.push_back({"RunsOf37", [](std::uint64_t i) { return (group_hash(i / 37 * 4) >> 14U) + i % 37; }});
  patterns.push_back({"RunsOf8TrackByTrack", [](std::uint64_t i) { return i / 8 * 63 + i % 8; }});
  patterns.push_back({"HighHalvesOnly", [](std::uint64_t i) { return (i << 35U) | (i & 3U); }});
  patterns.push_back({"BitReversed", [](std::uint64_t i) {
                        std::uint64_t r = 0;
                        for (unsigned b = 0; b < 40; ++b) r |= ((i >> b) & 1U) << (39 - b);
                        return r << 10U;
                      }});
  patterns.push_back({"DenseClustersFarApart", [](std::uint64_t i) { return (i / 5000 << 40U) + i % 5000; }});
  return patterns;
}

class ProbeLength : public ::testing::TestWithParam<KeyPattern> {};

TEST_P(ProbeLength, StaysShortAtEverySize) {
  BlockMap map(process_memory());
  std::unordered_set<std::uint64_t> keys;
  std::uint64_t next = 0;
  // Just before and just after the array grows: fullest and emptiest. 65536 places and 81920 among them.
  for (const std::uint64_t entries : {48U, 49U, 384U, 3072U, 12288U, 49152U, 49153U, 61440U, 98304U, 393216U}) {
    while (keys.size() < entries) {
      const std::uint64_t key = GetParam().key(next++);
      if (keys.insert(key).second) {
        ASSERT_TRUE(map.put(key, 1));
      }
    }
    std::uint64_t hits = 0;
    std::uint64_t longest = 0;
    std::uint64_t misses = 0;
    std::uint64_t missed = 0;
    for (const std::uint64_t key : keys) {
      const std::uint64_t hit = map.probe_length(key);
      hits += hit;
      longest = std::max(longest, hit);
      // The neighbourhood of what is there is what is asked for next.
      for (const std::uint64_t other : {key + 1, key + 5, key ^ (std::uint64_t{1} << 30U)}) {
        if (keys.contains(other)) continue;
        misses += map.probe_length(other);
        ++missed;
      }
    }
    const double mean_hit = static_cast<double>(hits) / static_cast<double>(keys.size());
    const double mean_miss = missed == 0 ? 0 : static_cast<double>(misses) / static_cast<double>(missed);
    EXPECT_LE(mean_hit, 8.0) << entries;
    EXPECT_LE(mean_miss, 20.0) << entries;
    // The longest of n geometrically distributed lengths grows with log n.
    EXPECT_LE(longest, 240U) << entries;
  }
}

// Names the pattern in failure messages.
void PrintTo(const KeyPattern& pattern, std::ostream* out) { *out << pattern.name; }

INSTANTIATE_TEST_SUITE_P(Patterns, ProbeLength, ::testing::ValuesIn(key_patterns()),
                         [](const auto& pattern) { return pattern.param.name; });

TEST(BlockMapMemory, ReservedPutsAllocateNothing) {
  ScarceMemory memory;
  BlockMap map(memory);
  for (std::uint64_t block = 0; block < 1000; ++block) ASSERT_TRUE(map.put(block, 1));
  ASSERT_TRUE(map.reserve(5000));
  memory.budget = 0;
  const std::uint64_t before = memory.requests;
  for (std::uint64_t block = 0; block < 5000; ++block) {
    ASSERT_TRUE(map.put(10000 + block, 1));
    map.settle();
  }
  EXPECT_EQ(memory.requests, before);
}

TEST(BlockMapMemory, RefusedReservationAddsNothingAndKeepsNoMemory) {
  ScarceMemory memory;
  BlockMap map(memory);
  for (std::uint64_t block = 0; block < 40; ++block) ASSERT_TRUE(map.put(block, 1));
  memory.budget = memory.in_use + 20000;  // some overflow layers fit, 100000 entries do not
  const std::uint64_t held = map.memory_bytes();
  EXPECT_FALSE(map.reserve(100000));
  EXPECT_EQ(map.memory_bytes(), held);
  EXPECT_EQ(memory.in_use, held);
  EXPECT_FALSE(map.layered());
  EXPECT_FALSE(map.reserve(~std::uint64_t{0}));
  EXPECT_TRUE(map.reserve(8));
  for (std::uint64_t block = 0; block < 40; ++block) EXPECT_EQ(find(map, block), 1U);
}

TEST(BlockMapMemory, PutReportsRefusalAndChangesNothing) {
  ScarceMemory memory;
  BlockMap map(memory);
  for (std::uint64_t block = 0; block < 48; ++block) ASSERT_TRUE(map.put(block, block + 1));
  memory.budget = 0;
  EXPECT_FALSE(map.put(48, 1));
  EXPECT_EQ(map.size(), 48U);
  EXPECT_EQ(find(map, 48), 0U);
  EXPECT_TRUE(map.put(7, 99)) << "a key that has its place needs no memory";
  EXPECT_EQ(find(map, 7), 99U);
}

}  // namespace
}  // namespace remapfs
