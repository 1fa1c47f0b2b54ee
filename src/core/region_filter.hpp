// SPDX-License-Identifier: Apache-2.0
#pragma once

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

  [[nodiscard]] bool marked(BlockIndex block) const;
  // The first marked region in [first, end). Cost: one load for 4096 regions without a mark.
  [[nodiscard]] std::optional<std::uint64_t> next_marked(std::uint64_t first, std::uint64_t end) const;
  // True when no region that the range touches is marked. Blocks past the end of the disk count as unmarked.
  [[nodiscard]] bool nothing_in(BlockRange range) const {
    return range.empty() || !next_marked(region_of(range.begin), region_of(range.end - 1) + 1);
  }

  // The mark can be seen by every reader that sees anything the caller publishes afterwards.
  void mark(std::uint64_t region);
  void clear(std::uint64_t region);
  void clear_all();

  [[nodiscard]] std::uint64_t memory_bytes() const { return (words_ + summary_words_) * sizeof(std::uint64_t); }

 private:
  MemorySource& memory_;
  unsigned shift_;
  std::uint64_t region_count_;
  std::uint64_t words_;
  std::uint64_t summary_words_;
  std::uint64_t* regions_ = nullptr;  // bit i: region i may have an entry
  std::uint64_t* summary_ = nullptr;  // bit i: word i of regions_ is not zero
};

}  // namespace remapfs
