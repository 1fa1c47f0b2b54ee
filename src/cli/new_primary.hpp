// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/world.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

// Refuses what cannot be the primary of this volume in place of the one it has: it is not there, too small, in use,
// shares bytes with a member; or carries a file system or is a spare, unless force. Changes nothing. Errors: not_found,
// invalid, busy, exists, device errors, each "what, where, what to do".
Result<void> check_new_primary(const std::string& path, const VolumeInfo& volume, bool force, World& world);

// Opens it alone, as much of it as the volume needs. Errors: as above.
Result<NewPrimary> open_new_primary(const std::string& path, const VolumeInfo& volume, const KernelViews& views);

}  // namespace remapfs::cli
