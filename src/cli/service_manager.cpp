// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "cli/descriptor_passing.hpp"
#include "core/unique_fd.hpp"

namespace remapfs::cli {

namespace {

// One datagram; libsystemd is not needed for that.
void send_datagram(const std::string& socket, std::string_view text, std::string_view rest,
                   std::span<const int> descriptors) {
  sockaddr_un address{};
  // "/path", or "@name" for an abstract socket.
  if (socket.size() < 2 || socket.size() >= sizeof address.sun_path || (socket[0] != '/' && socket[0] != '@')) return;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return;
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, sizeof address.sun_path - 1);
  if (socket[0] == '@') address.sun_path[0] = '\0';
  std::array<iovec, 2> parts{{{const_cast<char*>(text.data()), text.size()},  // only read
                              {const_cast<char*>(rest.data()), rest.size()}}};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  PassedDescriptors passed;
  passed.put_into(message, descriptors);
  ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
}

}  // namespace

void notify_service_manager(const std::string& socket, std::string_view message) {
  send_datagram(socket, message, {}, {});
}

void store_descriptors(const std::string& socket, std::string_view name, std::span<const int> descriptors) {
  while (!descriptors.empty()) {
    const std::size_t count = std::min(kMostPassedAtOnce, descriptors.size());
    send_datagram(socket, "FDSTORE=1\nFDNAME=", name, descriptors.first(count));
    descriptors = descriptors.subspan(count);
  }
}

void forget_descriptors(const std::string& socket, std::string_view name) {
  send_datagram(socket, "FDSTOREREMOVE=1\nFDNAME=", name, {});
}

}  // namespace remapfs::cli
