// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "core/memory_source.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Says of most blocks, in one or two loads, that they have no entry: a bit for every region of 2^k blocks, k >= 4
// chosen so that the bits stay within 4 MiB, and a summary with a bit for every 64 regions.
//
// Threads: questions from any number of threads; mark() and clear() one at a time.
class RegionFilter {
 public:
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{4} << 20U;  // without the summary, 1/64 more
  static constexpr unsigned kMinRegionShift = 4;

  RegionFilter(MemorySource& memory, std::uint64_t block_count);
  ~RegionFilter();
  RegionFilter(const RegionFilter&) = delete;
  RegionFilter& operator=(const RegionFilter&) = delete;

  // False if memory was refused; the filter must not be used then.
  [[nodiscard]] bool ready() const { return regions_ != nullptr; }

  [[nodiscard]] unsigned region_shift() const { return shift_; }
  [[nodiscard]] std::uint64_t region_of(BlockIndex block) const { return block.value() >> shift_; }
  [[nodiscard]] BlockRange blocks_of(std::uint64_t region) const {
    return {BlockIndex(region << shift_), BlockIndex((region + 1) << shift_)};
  }

  [[nodiscard]] bool marked(BlockIndex block) const {
    const std::uint64_t region = region_of(block);
    return region < region_count_ && (load(regions_[region / 64]) & bit(region)) != 0;
  }
  // The first marked region in [first, end). Cost: one load for 4096 regions without a mark.
  [[nodiscard]] std::optional<std::uint64_t> next_marked(std::uint64_t first, std::uint64_t end) const;
  // True when no region that the range touches is marked. Blocks past the end of the disk count as unmarked.
  [[nodiscard]] bool nothing_in(BlockRange range) const {
    if (range.empty()) return true;
    const std::uint64_t first = region_of(range.begin);
    const std::uint64_t end = std::min(region_of(range.end - 1) + 1, region_count_);
    if (first >= end) return true;
    // A request lies within the 4096 regions of one word of the summary, as a rule.
    const std::uint64_t first_word = first / 64;
    const std::uint64_t end_word = (end - 1) / 64 + 1;
    if (first_word / 64 == (end_word - 1) / 64) {
      const std::uint64_t words = bits_within(first_word / 64, first_word, end_word);
      if ((load(summary_[first_word / 64]) & words) == 0) return true;
    }
    return !next_marked(first, end);
  }

  // The mark can be seen by every reader that sees anything the caller publishes afterwards.
  void mark(std::uint64_t region);
  void clear(std::uint64_t region);
  void clear_all();

  [[nodiscard]] std::uint64_t memory_bytes() const { return (words_ + summary_words_) * sizeof(std::uint64_t); }

 private:
  static constexpr std::uint64_t bit(std::uint64_t index) { return std::uint64_t{1} << (index % 64); }
  // Bits of word number `word` that belong to the indices [first, end); the word must hold at least one of them.
  static constexpr std::uint64_t bits_within(std::uint64_t word, std::uint64_t first, std::uint64_t end) {
    std::uint64_t bits = ~std::uint64_t{0};
    if (word == first / 64) bits &= ~std::uint64_t{0} << (first % 64);
    if (word == (end - 1) / 64) bits &= ~std::uint64_t{0} >> (63 - (end - 1) % 64);
    return bits;
  }
  static std::uint64_t load(std::uint64_t& word) { return std::atomic_ref(word).load(std::memory_order_acquire); }

  MemorySource& memory_;
  unsigned shift_;
  std::uint64_t region_count_;
  std::uint64_t words_;
  std::uint64_t summary_words_;
  std::uint64_t* regions_ = nullptr;  // bit i: region i may have an entry
  std::uint64_t* summary_ = nullptr;  // bit i: word i of regions_ is not zero
};

}  // namespace remapfs
