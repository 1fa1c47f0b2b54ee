// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "disk_server.hpp"

namespace faulty {
namespace {

using remapfs::Errc;
using remapfs::fail;
using remapfs::Result;

// What the background process says through the pipe: this word, or the message of its failure.
constexpr std::string_view kReady = "ready\n";

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;  // nobody listens any more
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 512> buffer;
  while (true) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Lets go of the terminal and of pipes that a caller may be reading to their end.
void silence() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  if (null > STDERR_FILENO) ::close(null);
}

[[noreturn]] void run_background(const MountRequest& request, int pipe) {
  ::setsid();
  ::openlog("faulty-disk", LOG_PID, LOG_DAEMON);
  bool ready = false;
  const auto on_ready = [&] {
    [[maybe_unused]] const int moved = ::chdir("/");
    silence();
    write_all(pipe, kReady);
    ::close(pipe);
    ready = true;
  };
  const auto report = [&](const std::string& message) {
    if (ready) {
      ::syslog(LOG_WARNING, "%s", message.c_str());
    } else {
      std::fprintf(stderr, "faulty-disk: %s\n", message.c_str());
    }
  };
  const Result<void> done = serve_disk(request, on_ready, report);
  if (!done && !ready) write_all(pipe, remapfs::describe(done.error()));
  if (!done && ready) ::syslog(LOG_ERR, "%s", remapfs::describe(done.error()).c_str());
  std::_Exit(done ? 0 : 2);
}

}  // namespace

Result<void> serve_disk_in_background(const MountRequest& request) {
  // A daemon that keeps a caller's descriptors keeps its locks and pipes too.
  ::close_range(STDERR_FILENO + 1, UINT_MAX, 0);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return fail(Errc::no_memory, fmt::format("cannot make a pipe, {}", std::strerror(errno)), errno);
  }
  const pid_t child = ::fork();
  if (child < 0) return fail(Errc::no_memory, fmt::format("cannot start a process, {}", std::strerror(errno)), errno);
  if (child == 0) {
    ::close(pipe[0]);
    run_background(request, pipe[1]);
  }
  ::close(pipe[1]);
  const std::string said = read_all(pipe[0]);
  ::close(pipe[0]);
  if (said == kReady) return {};
  int status = 0;
  ::waitpid(child, &status, 0);
  return fail(Errc::failed, said.empty() ? std::string("the serving process died, no reason known") : said);
}

}  // namespace faulty
