// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace remapfs {

// The time now, "2026-01-31T23:59:59Z".
[[nodiscard]] std::string utc_now();
// Such a time from seconds since 1970, and back; nothing for a text that is none.
[[nodiscard]] std::string utc_text(std::int64_t seconds);
[[nodiscard]] std::optional<std::int64_t> utc_seconds(const std::string& text);

}  // namespace remapfs
