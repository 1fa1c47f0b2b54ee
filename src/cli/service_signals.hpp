// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/unique_fd.hpp"

namespace remapfs::cli {

// The signals that a service acts on (SIGTERM, SIGINT, SIGHUP), as a descriptor for signalfd(2); blocked for this and
// all later threads and children. SIGPIPE is ignored from now on.
[[nodiscard]] UniqueFd take_over_signals();

}  // namespace remapfs::cli
