// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace remapfs::cli {

// Tells the service manager how we are, in the form of sd_notify(3): "READY=1\nSTATUS=...". Does nothing when
// `socket` (the value of NOTIFY_SOCKET) is empty. A manager that does not listen is not waited for.
void notify_service_manager(const std::string& socket, const std::string& message);

}  // namespace remapfs::cli
