// SPDX-License-Identifier: Apache-2.0
#include "cli/stored_mount.hpp"

#include <array>

#include "cli/service_manager.hpp"

namespace remapfs::cli {
namespace {

constexpr const char* kHandover = "remapfs-handover";
constexpr const char* kChannel = "remapfs-channel";
constexpr const char* kWorker = "remapfs-worker";

}  // namespace

StoredMount take_stored_mount(const World& world) {
  StoredMount mount;
  for (const StoredDescriptor& stored : world.stored_descriptors) {
    if (stored.name == kHandover) mount.handover.reset(stored.descriptor);
    if (stored.name == kChannel) mount.descriptors.channel.reset(stored.descriptor);
    if (stored.name == kWorker) mount.descriptors.workers.emplace_back(stored.descriptor);
  }
  return mount;
}

void store_mount(const std::string& socket, int handover, std::span<const int> descriptors) {
  store_descriptors(socket, kHandover, std::span(&handover, 1));
  store_descriptors(socket, kChannel, descriptors.first(1));
  store_descriptors(socket, kWorker, descriptors.subspan(1));
}

void forget_stored_mount(const std::string& socket) {
  for (const char* name : {kHandover, kChannel, kWorker}) forget_descriptors(socket, name);
}

}  // namespace remapfs::cli
