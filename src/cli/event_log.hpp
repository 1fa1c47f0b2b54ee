// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "remapfs/map_store.hpp"

namespace remapfs::cli {

inline constexpr const char* kMountEvent = "mount";
inline constexpr const char* kUnmountEvent = "unmount";

// An event of the volume in the daemon's log: what is usual as information, the rest as a warning.
void log_event(const Event& event);

}  // namespace remapfs::cli
