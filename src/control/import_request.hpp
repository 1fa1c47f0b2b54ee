// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "control/block_verbs.hpp"

namespace remapfs {

// Enters the runs; the completion says what was done, and why it ended where it did.
Completion apply_import(ControlTarget& target, std::span<const ImportRun> runs);

// Gives out the runs in pieces that fit one request, long ones in parts. `left` keeps what has not been given out.
[[nodiscard]] std::vector<ImportRun> take_request(std::span<ImportRun>& left);

}  // namespace remapfs
