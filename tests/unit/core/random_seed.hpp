// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace remapfs::testing {

// The seed of a randomised test: REMAPFS_TEST_SEED if set, else a new one. It is printed, so that a failure can be
// replayed.
inline std::uint64_t test_seed() {
  std::uint64_t seed = 0;
  if (const char* text = std::getenv("REMAPFS_TEST_SEED"); text != nullptr) {
    seed = std::strtoull(text, nullptr, 0);
  } else {
    std::random_device device;
    seed = (std::uint64_t{device()} << 32U) | device();
  }
  std::printf("REMAPFS_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace remapfs::testing
