// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <fstream>
#include <string>

namespace remapfs::testing {

// What /proc/PID/status says of this process or thread under a name ("VmRSS"): the rest of its line. Empty when it does
// not say it, or nobody is there.
inline std::string process_status(pid_t process, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return line.substr(name.size() + 1);
  }
  return {};
}

}  // namespace remapfs::testing
