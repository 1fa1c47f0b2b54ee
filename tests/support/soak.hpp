// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string_view>

namespace remapfs::testing {

// Whether the long tests run in full: `tools/test --soak`.
inline bool soaking() {
  const char* const text = std::getenv("REMAPFS_TEST_SOAK");
  return text != nullptr && std::string_view(text) == "1";
}

}  // namespace remapfs::testing
