// SPDX-License-Identifier: Apache-2.0
#include "control/line_channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace remapfs {
namespace {

using Clock = std::chrono::steady_clock;

// Waits until the socket is ready for `events` or the deadline passes.
Result<void> wait_ready(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return fail(Errc::timeout, ETIMEDOUT);
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<long long>(left, 1'000'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(Errc::device_other, errno);
  }
}

bool is_transient(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Result<std::optional<std::string>> LineChannel::read_line(std::size_t max_bytes, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t newline = pending_.find('\n', searched);
    if (newline != std::string::npos && newline <= max_bytes) {
      std::string line = pending_.substr(0, newline);
      pending_.erase(0, newline + 1);
      return line;
    }
    if (pending_.size() > max_bytes) return fail(Errc::invalid, EMSGSIZE);
    searched = pending_.size();

    if (auto ready = wait_ready(socket_.get(), POLLIN, deadline); !ready) return fail(ready.error());
    std::array<char, 16384> chunk;
    const std::size_t room = std::min(chunk.size(), max_bytes + 1 - pending_.size());
    const ssize_t got = ::recv(socket_.get(), chunk.data(), room, MSG_DONTWAIT);
    if (got > 0) {
      pending_.append(chunk.data(), static_cast<std::size_t>(got));
    } else if (got == 0) {
      if (!pending_.empty()) return fail(Errc::invalid, EPROTO);
      return std::nullopt;
    } else if (!is_transient(errno)) {
      return fail(Errc::device_other, errno);
    }
  }
}

Result<void> LineChannel::write_line(std::string_view line, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::string text(line);
  text += '\n';
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (is_transient(errno)) {
      if (auto ready = wait_ready(socket_.get(), POLLOUT, deadline); !ready) return fail(ready.error());
    } else {
      return fail(Errc::device_other, errno);
    }
  }
  return {};
}

bool LineChannel::peer_left() const {
  pollfd entry{socket_.get(), POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void LineChannel::interrupt_reads() const { ::shutdown(socket_.get(), SHUT_RD); }

}  // namespace remapfs
