// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <unordered_set>
#include <vector>

#include "peers.hpp"

// Where the entries are, and which blocks are asked for: the same for every table.

namespace remapfs::bench {

inline Mapping mapping_of(std::uint64_t i) { return {EntryState::remapped, {1, SlotIndex(i)}, kGeometry.full_mask()}; }

// Block numbers of `count` entries, in the order in which they come.
using Layout = std::vector<std::uint64_t> (*)(std::uint64_t count);

// Runs of kRun blocks that begin anywhere in the first half of the disk.
template <std::uint64_t kRun>
std::vector<std::uint64_t> runs_of(std::uint64_t count) {
  constexpr std::uint64_t kApart = 4 * kRun;  // one run in each stretch of so many blocks
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> blocks;
  blocks.reserve(count);
  std::unordered_set<std::uint64_t> taken;
  while (blocks.size() < count) {
    const std::uint64_t stretch = random() % (kBlocks / 2 / kApart);
    if (!taken.insert(stretch).second) continue;
    const std::uint64_t first = stretch * kApart + random() % (kApart - kRun + 1);
    for (std::uint64_t i = 0; i < kRun && blocks.size() < count; ++i) blocks.push_back(first + i);
  }
  return blocks;
}
// Nothing but neighbours.
inline std::vector<std::uint64_t> neighbouring_blocks(std::uint64_t count) {
  std::vector<std::uint64_t> blocks(count);
  for (std::uint64_t i = 0; i < count; ++i) blocks[i] = i;
  return blocks;
}

// Blocks to ask for, in an order that caches cannot guess: every entry of a million comes up about once.
using Questions = std::vector<std::uint64_t> (*)(const std::vector<std::uint64_t>& blocks);

inline constexpr std::size_t kQuestions = std::size_t{1} << 20U;

inline std::vector<std::uint64_t> hits(const std::vector<std::uint64_t>& blocks) {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> asked(kQuestions);
  for (std::uint64_t& block : asked) block = blocks[random() % blocks.size()];
  return asked;
}
inline std::vector<std::uint64_t> far_misses(const std::vector<std::uint64_t>& /*blocks*/) {
  std::mt19937_64 random(3);
  std::vector<std::uint64_t> asked(kQuestions);
  for (std::uint64_t& block : asked) block = kBlocks / 2 + random() % (kBlocks / 2 - kRangeBlocks);
  return asked;
}
// Blocks without entries right beside some that have them, where the filter cannot help.
inline std::vector<std::uint64_t> near_misses(const std::vector<std::uint64_t>& blocks) {
  const std::unordered_set<std::uint64_t> taken(blocks.begin(), blocks.end());
  std::vector<std::uint64_t> asked = hits(blocks);
  for (std::uint64_t& block : asked) {
    while (taken.contains(block)) ++block;
  }
  return asked;
}
// Beginnings of ranges in the midst of neighbours.
inline std::vector<std::uint64_t> range_starts(const std::vector<std::uint64_t>& blocks) {
  std::mt19937_64 random(4);
  std::vector<std::uint64_t> asked(kQuestions / 16);
  for (std::uint64_t& block : asked) block = random() % (blocks.size() - (kRangeBlocks - 1));
  return asked;
}

}  // namespace remapfs::bench
