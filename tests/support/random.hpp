// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace remapfs::testing {

// A small fast generator (splitmix64): every seed, 0 too, gives a good series. Not for secrets.
//
// Satisfies UniformRandomBitGenerator. Threads: one; give each thread its own, from fork().
class Random {
 public:
  using result_type = std::uint64_t;

  explicit Random(std::uint64_t seed) : state_(seed) {}

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }

  // Uniform in [0, bound); 0 when bound is 0. The bias, below bound / 2^64, does not matter to tests.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : (*this)() % bound; }
  // Uniform in [low, high).
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low); }
  // True in one of `n` cases.
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  void fill(std::span<std::byte> out);
  // An independent generator.
  Random fork() { return Random((*this)()); }

 private:
  std::uint64_t state_;
};

// The seed of the running test: REMAPFS_TEST_SEED if set (decimal or 0x), else a fresh one. Printed on stdout and
// recorded as the property "seed" of the running test. Use it with SCOPED_TRACE(seed_message(seed)).
[[nodiscard]] std::uint64_t test_seed();
// "replay with REMAPFS_TEST_SEED=N"
[[nodiscard]] std::string seed_message(std::uint64_t seed);

}  // namespace remapfs::testing
