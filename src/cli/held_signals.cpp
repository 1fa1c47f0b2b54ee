// SPDX-License-Identifier: Apache-2.0
#include "cli/held_signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace remapfs::cli {

HeldSignals::HeldSignals() {
  sigset_t held;
  sigemptyset(&held);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    // A blocked signal is kept even if it is ignored.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&held, signal);
  }
  ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  descriptor_.reset(::signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK));
}

HeldSignals::~HeldSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

bool HeldSignals::take() {
  bool any = false;
  signalfd_siginfo signal{};
  while (::read(descriptor_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) any = true;
  return any;
}

}  // namespace remapfs::cli
