// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "cli/world.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

// Opens the volume of a map that is not mounted, for this command alone, notes what there is to say about its devices,
// calls use(volume) and closes it. Errors: those of assemble(), of use, and of closing after a use that succeeded.
Result<void> with_volume(const std::string& map_path, World& world, const std::function<Result<void>(Volume&)>& use);

}  // namespace remapfs::cli
