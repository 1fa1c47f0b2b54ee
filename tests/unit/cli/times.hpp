// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace remapfs::cli {

// Seconds since 1970: the moment in which these tests take place.
inline constexpr std::int64_t kNow = 1'795'849'200;
inline constexpr const char* kNowText = "2026-11-28T07:00:00Z";
inline constexpr std::int64_t kDay = 86400;

}  // namespace remapfs::cli
