// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/smartctl.hpp"
#include "core/json.hpp"
#include "remapfs/smart.hpp"

namespace remapfs::cli {

enum class DriveVerdict : std::uint8_t { unknown, fine, replace_soon, replace_now };  // grows worse
[[nodiscard]] std::string_view to_string(DriveVerdict verdict);                       // "replace-now"
[[nodiscard]] std::string_view in_words(DriveVerdict verdict);                        // "replace it now"

struct DriveJudgement {
  DriveVerdict verdict = DriveVerdict::unknown;
  std::vector<std::string> reasons;  // one line each, the worst first
};

// What remapfs itself has seen of a primary.
struct OwnEvidence {
  std::uint64_t moved_in_a_week = 0;  // blocks
  std::uint64_t lost_sectors = 0;
};

// The honest verdict on a drive. history: earlier readings of the same drive, oldest first. now: seconds since 1970.
//
// A drive that says of itself that it fails, is out of spare sectors, or loses sectors by the day is to be replaced
// now; one that has lost any, soon: such drives fail several times as often as others within months (Pinheiro et al.,
// "Failure Trends in a Large Disk Drive Population", FAST 2007: 14 times within 60 days of a first reallocation, 39
// times of a first scan error). Sectors that were replaced long ago, with none since, are no reason alone.
[[nodiscard]] DriveJudgement judge_drive(const DriveHealth& health, const std::vector<SmartReading>& history,
                                         const OwnEvidence& own, std::int64_t now);

}  // namespace remapfs::cli
