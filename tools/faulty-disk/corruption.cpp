// SPDX-License-Identifier: Apache-2.0
#include "corruption.hpp"

#include "seeded_order.hpp"

namespace faulty {

void flip_bits(std::uint64_t seed, ByteOffset from, std::span<std::byte> data) {
  static constexpr std::uint64_t kGroup = 16;
  const std::uint64_t begin = from.value();
  const std::uint64_t end = begin + data.size();
  for (std::uint64_t group = begin / kGroup; group * kGroup < end; ++group) {
    const std::uint64_t draw = mix64(mix64(seed) ^ group);
    const std::uint64_t at = group * kGroup + draw % kGroup;
    if (at >= begin && at < end) data[at - begin] ^= std::byte{1} << (draw / kGroup % 8);
  }
}

}  // namespace faulty
