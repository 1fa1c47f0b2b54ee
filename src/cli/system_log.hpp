// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/unique_fd.hpp"

namespace remapfs::cli {

// Sends lines to the system's log, under our name, and never waits for it: whoever writes the log may wait for a file
// system that stands above us. syslog(3) waits.
class SystemLog {
 public:
  explicit SystemLog(std::string socket = "/dev/log");

  // `priority` is one of LOG_EMERG to LOG_DEBUG. A message for which there is no room, or nobody to read it, is
  // dropped: then the answer is false. Messages are cut after 1000 bytes. Allocates nothing. One thread at a time.
  bool say(int priority, std::string_view message) noexcept;

 private:
  bool connect() noexcept;

  const std::string path_;
  UniqueFd socket_;
};

}  // namespace remapfs::cli
