// SPDX-License-Identifier: Apache-2.0
#include "seeded_order.hpp"

#include <algorithm>
#include <bit>

#include "remapfs/error.hpp"

namespace faulty {

SeededOrder::SeededOrder(std::uint64_t size, std::uint64_t seed) : size_(size) {
  REMAPFS_INVARIANT(size > 0 && size <= std::uint64_t{1} << 62U);
  // At least two bits a half: with fewer there is nothing to mix.
  const unsigned bits = std::max(4U, static_cast<unsigned>(std::bit_width(size - 1)));
  low_bits_ = bits / 2;
  low_mask_ = (std::uint64_t{1} << low_bits_) - 1;
  high_mask_ = (std::uint64_t{1} << (bits - low_bits_)) - 1;
  for (unsigned i = 0; i < kRounds; ++i) keys_[i] = mix64(mix64(seed + 0x9e3779b97f4a7c15ULL) + i);
}

std::uint64_t SeededOrder::round(unsigned index, std::uint64_t x) const {
  const std::uint64_t low = x & low_mask_;
  const std::uint64_t high = x >> low_bits_;
  if (index % 2 == 0) return (high << low_bits_) | (low ^ (mix64(high + keys_[index]) & low_mask_));
  return ((high ^ (mix64(low + keys_[index]) & high_mask_)) << low_bits_) | low;
}

std::uint64_t SeededOrder::at(std::uint64_t rank) const {
  std::uint64_t x = rank;
  do {
    for (unsigned i = 0; i < kRounds; ++i) x = round(i, x);
  } while (x >= size_);
  return x;
}

std::uint64_t SeededOrder::rank_of(std::uint64_t number) const {
  std::uint64_t x = number;
  do {
    for (unsigned i = kRounds; i-- > 0;) x = round(i, x);
  } while (x >= size_);
  return x;
}

}  // namespace faulty
