// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace remapfs::sim {

// Something that fails once. Threads: one.
struct FailsOnce {
  std::uint64_t until_failure = 0;  // 1: the next time; 0: never

  bool fails() { return until_failure > 0 && --until_failure == 0; }
};

}  // namespace remapfs::sim
