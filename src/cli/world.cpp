// SPDX-License-Identifier: Apache-2.0
#include "cli/world.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "cli/watchdog.hpp"
#include "io/proc_files.hpp"

namespace remapfs::cli {
namespace {

constexpr std::uint64_t kMostStoredDescriptors = 1024;

std::string environment(const char* name) {
  const char* const value = ::secure_getenv(name);
  return value != nullptr ? value : "";
}

// LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES: the first descriptor is 3.
std::vector<StoredDescriptor> descriptors_kept_for_us() {
  std::vector<StoredDescriptor> stored;
  if (environment("LISTEN_PID") != std::to_string(::getpid())) return stored;
  std::istringstream names(environment("LISTEN_FDNAMES"));
  const auto count = parse_decimal(environment("LISTEN_FDS")).value_or(0);
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, kMostStoredDescriptors); ++i) {
    StoredDescriptor one;
    std::getline(names, one.name, ':');
    one.descriptor = 3 + static_cast<int>(i);
    if (::fcntl(one.descriptor, F_SETFD, FD_CLOEXEC) == 0) stored.push_back(std::move(one));
  }
  return stored;
}

// A process that goes on for another one serves as the child of the one that is watched.
std::chrono::microseconds watchdog_of_service() {
  const std::string usec = environment("WATCHDOG_USEC");
  const std::string pid = environment("WATCHDOG_PID");
  const auto own = watchdog_interval(usec, pid, ::getpid());
  return own.count() != 0 ? own : watchdog_interval(usec, pid, ::getppid());
}

}  // namespace

World World::of_process() {
  const uid_t uid = ::geteuid();
  const std::string xdg_runtime_dir = environment("XDG_RUNTIME_DIR");
  return {.out = std::cout,
          .err = std::cerr,
          .out_is_terminal = ::isatty(STDOUT_FILENO) == 1,
          .err_is_terminal = ::isatty(STDERR_FILENO) == 1,
          .colours = environment("NO_COLOR").empty() && environment("TERM") != "dumb",  // https://no-color.org
          .uid = uid,
          .xdg_runtime_dir = xdg_runtime_dir,
          .notify_socket = environment("NOTIFY_SOCKET"),
          .watchdog = watchdog_of_service(),
          .stored_descriptors = descriptors_kept_for_us(),
          .place = runtime_place(uid, xdg_runtime_dir),
          .views = {},
          // Users rarely have the folders of the administrator's tools.
          .program_path = environment("PATH") + ":/usr/sbin:/sbin:/usr/bin:/bin"};
}

World World::leave_service() const {
  for (const char* name :
       {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    ::unsetenv(name);
  }
  World alone = *this;
  alone.notify_socket.clear();
  alone.watchdog = {};
  alone.stored_descriptors.clear();
  return alone;
}

}  // namespace remapfs::cli
