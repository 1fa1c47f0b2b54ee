// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>

#include "cli/descriptor_passing.hpp"
#include "core/unique_fd.hpp"

namespace remapfs::cli {

namespace {

// One datagram; libsystemd is not needed for that.
void send_datagram(const std::string& socket, const std::string& text, std::span<const int> descriptors) {
  sockaddr_un address{};
  // "/path", or "@name" for an abstract socket.
  if (socket.size() < 2 || socket.size() >= sizeof address.sun_path || (socket[0] != '/' && socket[0] != '@')) return;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return;
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, sizeof address.sun_path - 1);
  if (socket[0] == '@') address.sun_path[0] = '\0';
  iovec part{const_cast<char*>(text.data()), text.size()};  // only read
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  PassedDescriptors passed;
  passed.put_into(message, descriptors);
  ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
}

}  // namespace

void notify_service_manager(const std::string& socket, const std::string& message) {
  send_datagram(socket, message, {});
}

void store_descriptors(const std::string& socket, const std::string& name, std::span<const int> descriptors) {
  while (!descriptors.empty()) {
    const std::size_t count = std::min(kMostPassedAtOnce, descriptors.size());
    send_datagram(socket, "FDSTORE=1\nFDNAME=" + name, descriptors.first(count));
    descriptors = descriptors.subspan(count);
  }
}

void forget_descriptors(const std::string& socket, const std::string& name) {
  send_datagram(socket, "FDSTOREREMOVE=1\nFDNAME=" + name, {});
}

}  // namespace remapfs::cli
