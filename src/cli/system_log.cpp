// SPDX-License-Identifier: Apache-2.0
#include "cli/system_log.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

namespace remapfs::cli {
namespace {

constexpr std::size_t kLongestMessage = 1000;
constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

SystemLog::SystemLog(std::string socket) : path_(std::move(socket)) {
  ::tzset();  // reads a file, and allocates
  connect();
}

bool SystemLog::connect() noexcept {
  socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  if (!socket_ || path_.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, path_.size());
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  socket_.reset();
  return false;
}

// The form of a local message as the C library sends it: RFC 3164 without the host.
bool SystemLog::say(int priority, std::string_view message) noexcept {
  const std::time_t now = ::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, kLongestMessage + 100> text;
  const auto shown = static_cast<int>(std::min(message.size(), kLongestMessage));
  const int length = std::snprintf(text.data(), text.size(), "<%d>%s %2d %02d:%02d:%02d remapfs[%d]: %.*s",
                                   LOG_DAEMON | priority, kMonths[local.tm_mon % 12], local.tm_mday, local.tm_hour,
                                   local.tm_min, local.tm_sec, static_cast<int>(::getpid()), shown, message.data());
  const auto send = [&] {
    return socket_ && ::send(socket_.get(), text.data(), static_cast<std::size_t>(length), MSG_NOSIGNAL) == length;
  };
  if (send()) return true;
  if (socket_ && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  return connect() && send();  // whoever reads it may have been started anew
}

}  // namespace remapfs::cli
