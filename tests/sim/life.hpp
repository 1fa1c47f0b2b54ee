// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/script.hpp"

namespace remapfs::sim {

struct Outcome {
  std::optional<std::string> failure;  // which promise was broken, where
  std::size_t failed_step = 0;
  std::uint64_t cuts = 0;      // ends that came, each followed by a mount and a look at every sector
  std::uint64_t requests = 0;  // carried out
  std::uint64_t relocations = 0;
  std::uint64_t proven = 0;        // ends after which the spares alone proved what is on them
  std::uint64_t joined = 0;        // spares
  std::uint64_t retired = 0;       // the same
  std::uint64_t replaced = 0;      // primaries
  std::uint64_t taken_over = 0;    // mounts, by a process that followed a killed one
  std::vector<std::string> trace;  // a line for each step, when asked for
};

// Lives through a script, in a process of its own, and compares what the volume answers with an Oracle. The same script
// gives the same outcome. Threads: of a process that has one.
[[nodiscard]] Outcome live(const Script& script, bool with_trace = false);

}  // namespace remapfs::sim
