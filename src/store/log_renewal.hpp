// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "remapfs/error.hpp"

namespace remapfs::store {

// Writes the bytes of the map's log, if there is one, again where they are, durably.
//
// After a sync that failed, the kernel takes the pages for clean and goes on showing their new contents, so that no
// later sync stores them (fsync(2); ext4 and XFS, Linux 4.13 and later). The next user of the map would read such a log
// to its end, append to it, and lose all of it with the power: each frame of a log vouches for those before it.
//
// path: canonical, of a map that is owned and has no connection. Goes through SQLite's VFS, as all access to the map.
// Cost: reads and writes the log once, 4 MiB as a rule. Errors: store, no_memory.
Result<void> renew_log(const std::string& path);

}  // namespace remapfs::store
