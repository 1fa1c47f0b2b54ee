// SPDX-License-Identifier: Apache-2.0
#include "support/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

namespace remapfs::testing {

void Random::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t word = (*this)();
    const std::size_t n = std::min(out.size(), sizeof word);
    std::memcpy(out.data(), &word, n);
    out = out.subspan(n);
  }
}

std::uint64_t test_seed() {
  std::uint64_t seed = 0;
  if (const char* text = std::getenv("REMAPFS_TEST_SEED"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    seed = std::strtoull(text, &end, 0);
    if (*end != '\0') {
      std::cerr << "REMAPFS_TEST_SEED is not a number: " << text << std::endl;
      std::abort();
    }
  } else {
    std::random_device device;
    seed = (std::uint64_t{device()} << 32U) | device();
  }
  std::cout << seed_message(seed) << std::endl;
  if (::testing::UnitTest::GetInstance()->current_test_info() != nullptr) {
    ::testing::Test::RecordProperty("seed", std::to_string(seed));
  }
  return seed;
}

std::string seed_message(std::uint64_t seed) { return "replay with REMAPFS_TEST_SEED=" + std::to_string(seed); }

}  // namespace remapfs::testing
