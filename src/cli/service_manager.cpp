// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>

#include "core/unique_fd.hpp"

namespace remapfs::cli {
namespace {

std::optional<std::int64_t> parse_whole(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

void notify_service_manager(const std::string& socket, const std::string& message) {
  sockaddr_un address{};
  // "/path", or "@name" for an abstract socket; libsystemd is not needed for one datagram.
  if (socket.size() < 2 || socket.size() >= sizeof address.sun_path || (socket[0] != '/' && socket[0] != '@')) return;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return;
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, sizeof address.sun_path - 1);
  if (socket[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  ::sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
}

std::chrono::microseconds watchdog_interval(const std::string& usec, const std::string& pid, pid_t self) {
  const auto interval = parse_whole(usec);
  if (!interval || *interval <= 0) return {};
  if (!pid.empty() && parse_whole(pid) != self) return {};
  return std::chrono::microseconds(*interval);
}

std::string reloading_message() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(std::int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000);
}

int Watchdog::poll(std::span<pollfd> entries, int timeout_ms) {
  const auto count = static_cast<nfds_t>(entries.size());
  if (interval_.count() == 0 || socket_.empty()) return ::poll(entries.data(), count, timeout_ms);
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    auto now = Clock::now();
    if (now >= next_) {
      notify_service_manager(socket_, "WATCHDOG=1");
      next_ = now + interval_ / 2;
    }
    const auto until = timeout_ms < 0 ? next_ : std::min(next_, end);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    const int ready = ::poll(entries.data(), count, static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
    if (ready != 0) return ready;
    if (timeout_ms >= 0 && Clock::now() >= end) return 0;
  }
}

}  // namespace remapfs::cli
