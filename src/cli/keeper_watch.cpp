// SPDX-License-Identifier: Apache-2.0
#include "cli/keeper_watch.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "cli/daemon.hpp"
#include "cli/descriptor_passing.hpp"
#include "cli/log.hpp"
#include "cli/process.hpp"
#include "cli/succession.hpp"

namespace remapfs::cli {

// The manager's next one says who it is when it comes.
void KeeperWatch::begin() {
  if (keeper_ || handover_->keeper == gone_) return;
  watched_ = handover_->keeper;
  keeper_ = open_process(watched_);
  // One that cannot be watched is taken to be there.
  if (!keeper_ && errno != ESRCH) gone_ = watched_;
}

Result<void> KeeperWatch::tell_serving(int wire, bool inherited) const {
  auto told = send_message(wire, kServing);
  const bool another_comes = inherited && !managed_;
  if (!told && told.error().code == Errc::device_gone && another_comes) return {};
  return told;
}

bool KeeperWatch::lives() {
  begin();
  return keeper_ && !has_ended(keeper_);
}

bool KeeperWatch::look_after(const ServedMount& mount) {
  begin();
  if (keeper_ ? !has_ended(keeper_) : handover_->keeper == gone_) return true;
  keeper_.reset();
  gone_ = watched_;                    // the manager's next one may have said already who it is
  ::waitpid(gone_, nullptr, WNOHANG);  // a child, if it was started here
  if (managed_) return true;
  const auto next = start_keeper(handover_, mount.record(), mount.descriptors(), views_);
  if (!next) {
    handover_->keeper = gone_ = ::getpid();
    log_error(
        fmt::format("the process that keeps this mount's descriptors has ended and another cannot be started, "
                    "{} ({}), the mount ends with process {}",
                    mount.mount_point(), describe(next.error()), ::getpid()));
    return false;
  }
  handover_->keeper = *next;
  begin();
  log_warning(fmt::format("the process that kept this mount's descriptors has ended, process {} does now", *next));
  return true;
}

}  // namespace remapfs::cli
