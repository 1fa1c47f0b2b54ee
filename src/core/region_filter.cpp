// SPDX-License-Identifier: Apache-2.0
#include "core/region_filter.hpp"

#include <algorithm>
#include <bit>

namespace remapfs {
namespace {

constexpr std::uint64_t kMaxRegions = RegionFilter::kMaxBytes * 8;

unsigned shift_for(std::uint64_t block_count) {
  unsigned shift = RegionFilter::kMinRegionShift;
  while (block_count != 0 && ((block_count - 1) >> shift) >= kMaxRegions) ++shift;
  return shift;
}

}  // namespace

RegionFilter::RegionFilter(MemorySource& memory, std::uint64_t block_count)
    : memory_(memory),
      shift_(shift_for(block_count)),
      region_count_(block_count == 0 ? 1 : ((block_count - 1) >> shift_) + 1),
      words_((region_count_ + 63) / 64),
      summary_words_((words_ + 63) / 64),
      regions_(static_cast<std::uint64_t*>(memory.allocate(memory_bytes()))),
      summary_(regions_ == nullptr ? nullptr : regions_ + words_) {}

RegionFilter::~RegionFilter() {
  if (regions_ != nullptr) memory_.release(regions_, memory_bytes());
}

std::optional<std::uint64_t> RegionFilter::next_marked(std::uint64_t first, std::uint64_t end) const {
  end = std::min(end, region_count_);
  if (first >= end) return std::nullopt;
  const std::uint64_t first_word = first / 64;
  const std::uint64_t end_word = (end - 1) / 64 + 1;
  for (std::uint64_t s = first_word / 64; s <= (end_word - 1) / 64; ++s) {
    std::uint64_t candidates = load(summary_[s]) & bits_within(s, first_word, end_word);
    for (; candidates != 0; candidates &= candidates - 1) {
      const std::uint64_t word = s * 64 + static_cast<unsigned>(std::countr_zero(candidates));
      const std::uint64_t hits = load(regions_[word]) & bits_within(word, first, end);
      if (hits != 0) return word * 64 + static_cast<unsigned>(std::countr_zero(hits));
    }
  }
  return std::nullopt;
}

void RegionFilter::mark(std::uint64_t region) {
  const std::uint64_t word = region / 64;
  // Most are marked already; readers would lose their copies of the line.
  if ((load(regions_[word]) & bit(region)) != 0) return;
  std::atomic_ref(regions_[word]).fetch_or(bit(region), std::memory_order_seq_cst);
  std::atomic_ref(summary_[word / 64]).fetch_or(bit(word), std::memory_order_seq_cst);
}

void RegionFilter::clear(std::uint64_t region) {
  const std::uint64_t word = region / 64;
  const std::uint64_t before = std::atomic_ref(regions_[word]).fetch_and(~bit(region), std::memory_order_seq_cst);
  if ((before & ~bit(region)) == 0) {
    std::atomic_ref(summary_[word / 64]).fetch_and(~bit(word), std::memory_order_seq_cst);
  }
}

void RegionFilter::clear_all() {
  for (std::uint64_t s = 0; s < summary_words_; ++s) {
    std::uint64_t words = load(summary_[s]);
    if (words == 0) continue;
    for (std::uint64_t left = words; left != 0; left &= left - 1) {
      const std::uint64_t word = s * 64 + static_cast<unsigned>(std::countr_zero(left));
      std::atomic_ref(regions_[word]).store(0, std::memory_order_seq_cst);
    }
    std::atomic_ref(summary_[s]).store(0, std::memory_order_seq_cst);
  }
}

}  // namespace remapfs
