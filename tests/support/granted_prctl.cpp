// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "support/next_function.hpp"

// Preloaded into a program under test: a kernel that grants PR_SET_IO_FLUSHER, which containers forbid to root. Adds a
// line "PID THREADS" to the file $GRANTED_PRCTL_LOG whenever the process asks to be one.

namespace {
std::atomic<int> io_flusher{0};

void note_request() {
  const char* path = std::getenv("GRANTED_PRCTL_LOG");
  std::FILE* log = path == nullptr ? nullptr : std::fopen(path, "ae");
  if (log == nullptr) return;
  const std::filesystem::directory_iterator threads("/proc/self/task");
  std::fprintf(log, "%d %td\n", ::getpid(), std::distance(begin(threads), end(threads)));
  std::fclose(log);
}
}  // namespace

extern "C" int prctl(int option, ...) noexcept {
  std::va_list list;
  va_start(list, option);
  unsigned long arguments[4];
  for (unsigned long& argument : arguments) argument = va_arg(list, unsigned long);
  va_end(list);
  if (option == PR_SET_IO_FLUSHER) {
    note_request();
    io_flusher = static_cast<int>(arguments[0]);
    return 0;
  }
  if (option == PR_GET_IO_FLUSHER) return io_flusher;
  auto* const real = remapfs::testing::next_function(&prctl, "prctl");
  return real(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}
