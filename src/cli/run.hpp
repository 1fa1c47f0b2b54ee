// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "cli/world.hpp"

namespace remapfs::cli {

// The program `remapfs`: a function of its arguments (without the program's name) and the world. Returns the exit code.
int run(std::span<const char* const> args, World& world);

}  // namespace remapfs::cli
