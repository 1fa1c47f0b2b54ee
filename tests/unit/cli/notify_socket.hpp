// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <string>

#include "core/unique_fd.hpp"

namespace remapfs::cli {

// The service manager's end of NOTIFY_SOCKET: at "/path", or at "@name" for an abstract socket.
inline UniqueFd listen_at(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
  return fd;
}

// The next message; "nothing" when there is none.
inline std::string receive(const UniqueFd& fd) {
  std::array<char, 200> text{};
  const ssize_t got = ::recv(fd.get(), text.data(), text.size(), MSG_DONTWAIT);
  return got < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(got));
}

}  // namespace remapfs::cli
