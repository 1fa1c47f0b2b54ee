// SPDX-License-Identifier: Apache-2.0
#include "cli/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace remapfs::cli {

UniqueFd open_process(pid_t process) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0))); }

bool has_ended(const UniqueFd& process, std::chrono::milliseconds patience) {
  pollfd entry{process.get(), POLLIN, 0};
  int ready = -1;
  do {
    ready = ::poll(&entry, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

std::uint64_t start_of_process(pid_t process) {
  constexpr int kField = 22;  // of /proc/PID/stat: starttime
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", process);
  const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> text{};
  const ssize_t length = file ? ::read(file.get(), text.data(), text.size() - 1) : -1;
  // The second field is the program's name in parentheses, whatever that holds.
  const char* at = length > 0 ? std::strrchr(text.data(), ')') : nullptr;
  for (int field = 2; field < kField && at != nullptr; ++field) at = std::strchr(at + 1, ' ');
  return at == nullptr ? 0 : std::strtoull(at, nullptr, 10);
}

}  // namespace remapfs::cli
