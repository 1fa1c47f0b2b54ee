// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

#include "core/unique_fd.hpp"

namespace remapfs::cli {

// Holds back Ctrl-C, SIGTERM and SIGHUP (those that are not ignored) while it lives, for a step that is to be done
// whole or undone. What was not taken takes effect at the end.
// Threads: one; none may have been started.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  // Becomes readable when one has come.
  [[nodiscard]] int descriptor() const { return descriptor_.get(); }
  // Takes those that have come; false if there were none.
  [[nodiscard]] bool take();

 private:
  sigset_t before_{};
  UniqueFd descriptor_;
};

}  // namespace remapfs::cli
