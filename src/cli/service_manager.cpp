// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>

#include "core/unique_fd.hpp"

namespace remapfs::cli {

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

}  // namespace remapfs::cli
