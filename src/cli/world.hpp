// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <iosfwd>
#include <string>
#include <vector>

#include "control/socket_place.hpp"
#include "io/sysfs.hpp"

namespace remapfs::cli {

// A descriptor that the service manager kept, under the name that an earlier process gave it (sd_listen_fds(3)).
struct StoredDescriptor {
  std::string name;
  int descriptor = -1;
};

// Everything the program sees of the outside besides the files it is told about, so that a test can bring its own.
struct World {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;  // a screen that can be drawn again
  bool err_is_terminal = false;
  bool colours = false;  // are wanted on a terminal
  uid_t uid = 0;
  std::string xdg_runtime_dir;                         // empty: unset
  std::string notify_socket;                           // of the service manager; empty: none
  std::chrono::microseconds watchdog{};                // how long it waits for a sign of life; zero: it does not
  std::vector<StoredDescriptor> stored_descriptors{};  // that it kept for us
  RuntimePlace place;  // where control sockets and default mount points of this user are
  KernelViews views;
  std::string program_path{};  // where other programs are looked for: folders, with colons between

  static World of_process();
  // For a daemon that is nobody's service, whichever service it was started from; its environment says so, too, to the
  // processes that follow it.
  [[nodiscard]] World leave_service() const;
};

// Exit codes, as the manual has them.
inline constexpr int kExitDone = 0;
inline constexpr int kExitUsage = 1;
inline constexpr int kExitCouldNot = 2;  // or findings
inline constexpr int kExitMount = 32;    // as mount(8) wants it

}  // namespace remapfs::cli
