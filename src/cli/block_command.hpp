// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "cli/target.hpp"
#include "cli/world.hpp"
#include "control/protocol.hpp"

namespace remapfs::cli {

// Runs a block verb on a target: through its daemon when it is mounted, else on the volume opened right here. Prints a
// line a block as it goes; blocks that failed go to the error stream. Returns the exit code.
int run_block_verb(const Target& target, Verb verb, const std::vector<BlockRange>& ranges, World& world);

// The same for resume, which takes no blocks and needs a daemon.
int run_resume(const Target& target, World& world);

}  // namespace remapfs::cli
