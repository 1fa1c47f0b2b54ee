// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"

namespace remapfs::store {

// Copies a map, mounted or not, as it is at one moment, to a file of its own without a log, complete and durable before
// it gets its name. Never replaces anything. The copy is checked, as far as that can be done without the spares.
//
// Beside a mounted volume it is one more reader: it holds up nobody, though the log is not reused before it has ended.
// Errors: not_found, permission, exists, foreign, too_new, corrupt (the map is damaged), store.
Result<VolumeInfo> backup_map(const std::string& map_path, const std::string& file);

}  // namespace remapfs::store
