// SPDX-License-Identifier: Apache-2.0
#include "cli/world.hpp"

#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/watchdog.hpp"

namespace remapfs::cli {
namespace {

std::string environment(const char* name) {
  const char* const value = ::secure_getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

World World::of_process() {
  const uid_t uid = ::geteuid();
  const std::string xdg_runtime_dir = environment("XDG_RUNTIME_DIR");
  return {.out = std::cout,
          .err = std::cerr,
          .out_is_terminal = ::isatty(STDOUT_FILENO) == 1,
          .err_is_terminal = ::isatty(STDERR_FILENO) == 1,
          .uid = uid,
          .xdg_runtime_dir = xdg_runtime_dir,
          .notify_socket = environment("NOTIFY_SOCKET"),
          .watchdog = watchdog_interval(environment("WATCHDOG_USEC"), environment("WATCHDOG_PID"), ::getpid()),
          .place = runtime_place(uid, xdg_runtime_dir),
          .views = {}};
}

}  // namespace remapfs::cli
