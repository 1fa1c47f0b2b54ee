// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace remapfs::sim {

// Whether the deliberate bug of this name is switched on: see bugs/. At most one is.
[[nodiscard]] bool bug(std::string_view name);
void switch_on_bug(std::string_view name);  // empty: none

struct KnownBug {
  const char* name;
  // The life that met it last, where the ordinary form begins to look for what only rare lives meet. When the simulator
  // changes, another life does, and looking only takes longer until the number is mended.
  std::uint64_t life;
};

}  // namespace remapfs::sim
