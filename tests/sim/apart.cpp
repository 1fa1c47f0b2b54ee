// SPDX-License-Identifier: Apache-2.0
#include "sim/apart.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"

extern "C" void __gcov_dump() __attribute__((weak));

namespace remapfs::sim {
namespace {

void send_all(int to, const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::write(to, text.data() + sent, text.size() - sent);
    if (n <= 0) return;
    sent += static_cast<std::size_t>(n);
  }
}

std::string receive_all(int from) {
  std::string text;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t n = ::read(from, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace

tl::expected<std::string, std::string> run_apart(const std::function<std::string()>& body) {
  int ends[2];
  REMAPFS_INVARIANT(::pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  REMAPFS_INVARIANT(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    // Large buffers come and go with every mount: memory is kept rather than asked for and cleared again.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    send_all(ends[1], body());
    if (__gcov_dump != nullptr) __gcov_dump();
    ::_exit(0);
  }
  ::close(ends[1]);
  const UniqueFd from(ends[0]);
  std::string text = receive_all(from.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  return tl::unexpected(WIFSIGNALED(status) ? fmt::format("the program ended with signal {}", WTERMSIG(status))
                                            : fmt::format("the program ended with {}", WEXITSTATUS(status)));
}

}  // namespace remapfs::sim
