// SPDX-License-Identifier: Apache-2.0
#include "store/spare_roll.hpp"

#include <xxhash.h>

namespace remapfs::store {

SpareRoll SpareRoll::of(const std::vector<SpareInfo>& spares) {
  SpareRoll roll;
  for (const SpareInfo& spare : spares) {
    const auto uuid = Uuid::parse(spare.uuid);
    REMAPFS_INVARIANT(uuid.has_value());
    roll.enter(spare.id, *uuid);
  }
  return roll;
}

void SpareRoll::enter(SpareId id, const Uuid& uuid) {
  numbers.set(id);
  digest ^= XXH3_64bits(uuid.bytes.data(), uuid.bytes.size());
}

}  // namespace remapfs::store
