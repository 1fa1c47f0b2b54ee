// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "cli/handover.hpp"
#include "cli/served_mount.hpp"
#include "core/unique_fd.hpp"
#include "io/sysfs.hpp"

namespace remapfs::cli {

// The process that keeps a mount's descriptors, from the side of the one that serves the mount: when it was killed,
// another one is started.
//
// Threads: one.
class KeeperWatch {
 public:
  // managed: a service manager has the descriptors too, and starts another one itself.
  KeeperWatch(const SharedHandover& handover, bool managed, const KernelViews& views)
      : handover_(handover), managed_(managed), views_(views) {}

  // Over the wire to the one that started this process. When that was killed meanwhile, and the mount is one to go on
  // with, look_after() has another one started: no error. Errors: device_gone, device_other.
  [[nodiscard]] Result<void> tell_serving(int wire, bool inherited) const;
  // Can be read when it has ended; -1: nobody is watched.
  [[nodiscard]] int descriptor() const { return keeper_ ? keeper_.get() : -1; }
  // Whether somebody has the descriptors, who goes on with the mount when this process has ended.
  [[nodiscard]] bool lives();
  // Watches the one that the handover names, and has another one started when it has ended. False when that cannot be:
  // the mount ends with this process from now on.
  [[nodiscard]] bool look_after(const ServedMount& mount);

 private:
  // Watches the one that the handover names now, unless one is watched.
  void begin();

  const SharedHandover& handover_;
  const bool managed_;
  const KernelViews& views_;
  UniqueFd keeper_;     // a pidfd, of
  pid_t watched_ = -1;  // this process
  pid_t gone_ = -1;     // the last one that has ended, or cannot be watched
};

}  // namespace remapfs::cli
