// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace remapfs::cli {

// Tells the service manager how we are, in the form of sd_notify(3): "READY=1\nSTATUS=...". Does nothing when
// `socket` (the value of NOTIFY_SOCKET) is empty. A manager that does not listen is not waited for. Allocates nothing,
// as the others.
void notify_service_manager(const std::string& socket, std::string_view message);

// Has it keep these descriptors under this name (FDSTORE=1), to be given to the next process of the service should all
// of this one's be killed; and forget what has the name.
void store_descriptors(const std::string& socket, std::string_view name, std::span<const int> descriptors);
void forget_descriptors(const std::string& socket, std::string_view name);

}  // namespace remapfs::cli
