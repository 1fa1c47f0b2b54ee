// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "cli/handover.hpp"
#include "fuse/mount_point.hpp"
#include "fuse/mount_table.hpp"
#include "fuse/transport.hpp"
#include "io/sysfs.hpp"

namespace remapfs::cli {

// The descriptors of a mount: the one it was made with and one for each worker.
struct MountDescriptors {
  UniqueFd channel;
  std::vector<UniqueFd> workers;
};

// A mount from the side of whoever serves it, whether it made it or goes on with it.
//
// Threads: one, but for record() and the reading of what it returns.
class ServedMount {
 public:
  // Mounts. workers: descriptors to make. Errors: those of mount_fuse() and clone_descriptors(); nothing is mounted
  // then.
  static Result<ServedMount> make(const ServiceSpec& spec, unsigned workers);
  // Goes on with one that exists.
  ServedMount(MountRecord record, MountDescriptors descriptors);

  [[nodiscard]] const MountRecord& record() const { return record_; }
  [[nodiscard]] const std::string& mount_point() const { return record_.mount_point; }
  void note_init(fuse::InitExchange exchange) { record_.init = std::move(exchange); }
  // The channel first. They stay this object's.
  [[nodiscard]] std::vector<int> descriptors() const;
  // What a transport needs; the descriptors here stay open. Errors: no_memory.
  [[nodiscard]] Result<fuse::TransportDescriptors> for_transport() const;

  // Takes the mount away, never lazily. Errors: busy, naming the users or what is in the way.
  Result<void> unmount(const KernelViews& views);
  // Ours ends the connection, unless somebody else has the descriptors too.
  void close_descriptors();
  // What is left after the connection has ended answers errors only. Errors: those of unmount_fuse().
  Result<void> unmount_dead();
  [[nodiscard]] bool connection_ended() const;

 private:
  // Where it is mounted now, as far as this mount namespace sees: empty when it is not.
  [[nodiscard]] std::vector<fuse::MountEntry> mounts() const;

  MountRecord record_;
  MountDescriptors descriptors_;
  bool mounted_ = true;
};

}  // namespace remapfs::cli
