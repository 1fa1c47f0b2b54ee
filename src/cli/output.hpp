// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cli/world.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// The text on one line: control characters become spaces.
[[nodiscard]] std::string one_line(std::string_view text);

// Writes "remapfs: MESSAGE" to the error stream, and gives `exit_code` back for a return statement.
int report_error(World& world, const Error& error, int exit_code = kExitCouldNot);
int report_error(World& world, std::string_view message, int exit_code = kExitCouldNot);
// Something worth knowing that is no error, to the error stream as well, so that output stays what scripts expect.
void report_note(World& world, std::string_view message);

// Does a part of a command. Where something that a daemon of another version, or of another user, said is not
// understood, that is an error of this part.
int unless_not_understood(World& world, const std::function<int()>& part);

// 4096 -> "4K", 1610612736 -> "1.5G"; exact below 1 K and at whole units, else one decimal, as util-linux prints.
[[nodiscard]] std::string human_size(std::uint64_t bytes);

}  // namespace remapfs::cli
