// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "cli/target.hpp"
#include "cli/world.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

// Enters the runs: through the daemon when the target is mounted, else into the volume opened right here. Shows how far
// it is unless silent. Ends between two batches when it is interrupted.
// counts: what has been done, also when it ended early; what was under way when the daemon was lost is not in it.
// Errors: interrupted, those of opening the volume and of Volume::import_entries(); each with a message.
Result<void> import_into(const Target& target, std::span<ImportRun> runs, bool silent, World& world,
                         ImportCounts& counts);

}  // namespace remapfs::cli
