// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace remapfs::sim {

// Whether the deliberate bug of this name is switched on: see bugs/. At most one is.
[[nodiscard]] bool bug(std::string_view name);
void switch_on_bug(std::string_view name);  // empty: none

}  // namespace remapfs::sim
