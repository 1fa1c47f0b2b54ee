// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <cstdint>
#include <limits>
#include <vector>

#include "remapfs/map_store.hpp"
#include "store/uuid.hpp"

namespace remapfs::store {

// All spares of a volume, as each of them knows them.
struct SpareRoll {
  using Numbers = std::bitset<std::numeric_limits<SpareId>::max() + 1>;

  Numbers numbers;
  // XOR of the XXH3 of each uuid: a number may have been meant for a device that did not join in the end.
  std::uint64_t digest = 0;

  [[nodiscard]] static SpareRoll of(const std::vector<SpareInfo>& spares);
  void enter(SpareId id, const Uuid& uuid);
  [[nodiscard]] bool has(SpareId id) const { return numbers[id]; }

  friend bool operator==(const SpareRoll&, const SpareRoll&) = default;
};

}  // namespace remapfs::store
