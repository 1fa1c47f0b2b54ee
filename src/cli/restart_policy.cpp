// SPDX-License-Identifier: Apache-2.0
#include "cli/restart_policy.hpp"

#include <algorithm>

namespace remapfs::cli {

void RestartPolicy::note_end(std::optional<milliseconds> served) {
  if (served) early_kills_ = 0;
  if (served && *served >= kServedWell) failures_ = kills_ = 0;
}

std::optional<std::chrono::milliseconds> RestartPolicy::next(bool killed) {
  if (killed) {
    if (++kills_ > kMostKills || ++early_kills_ > kMostEarlyKills) return std::nullopt;
    return milliseconds(0);
  }
  if (++failures_ > kMostFailures) return std::nullopt;
  if (failures_ == 1) return milliseconds(0);
  return std::min(kLongestPause, kFirstPause * (1 << std::min(failures_, 16U)));
}

}  // namespace remapfs::cli
