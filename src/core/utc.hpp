// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace remapfs {

// The time now, "2026-01-31T23:59:59Z".
[[nodiscard]] std::string utc_now();

}  // namespace remapfs
