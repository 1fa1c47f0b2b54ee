// SPDX-License-Identifier: Apache-2.0
#include "cli/service_signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>

#include <csignal>

namespace remapfs::cli {

UniqueFd take_over_signals() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ours, signal);
  ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
  return UniqueFd(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace remapfs::cli
