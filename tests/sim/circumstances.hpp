// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sim/life.hpp"
#include "sim/oracle.hpp"
#include "sim/plant.hpp"
#include "sim/troubles.hpp"

namespace remapfs::sim {

// What all that happens in a life is about, and what may be expected of it at the moment. Threads: as World.
struct Circumstances {
  Circumstances(std::uint64_t seed, bool traced)
      : with_trace(traced),
        shape(Random(seed)),
        bytes(initial_bytes(shape, seed)),
        plant(shape, seed ^ 0x5EED, bytes),
        oracle(bytes) {}

  void broken(std::string what) {
    if (!outcome.failure) outcome.failure = std::move(what);
  }
  void trace(std::string line) {
    if (with_trace) outcome.trace.push_back(std::move(line));
  }
  template <class T>
  void trace_request(const char* what, std::uint64_t where, std::uint64_t length, const Result<T>& result) {
    if (!with_trace) return;
    outcome.trace.push_back(fmt::format("  {:3} {} {}+{}: {}{}", oracle.now(), what, where, length,
                                        result ? "done" : describe(result.error()), world.ended() ? ", unheard" : ""));
  }
  // Errors that are nobody's fault.
  bool may_happen(const Error& error) {
    // The places that are asked whether the device works at all may lie where it does not.
    if (error.code == Errc::suspended && troubles.on_primary()) disturbed = true;
    return disturbed || (slow && error.code == Errc::deadline);
  }

  const bool with_trace;
  const Shape shape;
  const std::vector<std::byte> bytes;  // of the disk in the beginning
  Plant plant;
  World& world = plant.world;
  Oracle oracle;
  Troubles troubles{plant};
  Outcome outcome;

  bool disturbed = false;       // any request may fail
  bool sync_failed = false;     // or is about to
  bool map_failed = false;      // the same
  bool flush_may_fail = false;  // a device has been away
  bool flush_failed = false;    // it may have told of a loss, which only the next one forgets
  bool slow = false;            // devices are

 private:
  static std::vector<std::byte> initial_bytes(const Shape& shape, std::uint64_t seed) {
    std::vector<std::byte> bytes(shape.disk_bytes);
    Random(seed + 1).fill(bytes);
    return bytes;
  }
};

}  // namespace remapfs::sim
