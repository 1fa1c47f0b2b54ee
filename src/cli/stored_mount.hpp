// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/served_mount.hpp"
#include "cli/world.hpp"
#include "core/unique_fd.hpp"

namespace remapfs::cli {

// What a service manager keeps of a mount, to be given to the next process of the service should all of this one's be
// killed. Nothing of it is of use without the rest.
struct StoredMount {
  UniqueFd handover;
  MountDescriptors descriptors;

  [[nodiscard]] bool complete() const { return handover && descriptors.channel && !descriptors.workers.empty(); }
};

// What it gave to this process.
[[nodiscard]] StoredMount take_stored_mount(const World& world);
// Has it keep them. descriptors: the mount's own, then one for each worker. No allocation.
void store_mount(const std::string& socket, int handover, std::span<const int> descriptors);
// Has it close what it keeps. No allocation.
void forget_stored_mount(const std::string& socket);

}  // namespace remapfs::cli
