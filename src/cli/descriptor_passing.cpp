// SPDX-License-Identifier: Apache-2.0
#include "cli/descriptor_passing.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace remapfs::cli {

void PassedDescriptors::put_into(msghdr& message, std::span<const int> descriptors) {
  if (descriptors.empty()) return;
  message.msg_control = room.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
}

Result<Wire> Wire::create() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return fail(Errc::no_memory, errno);
  return Wire{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<void> send_message(int wire, char what, std::span<const int> descriptors) {
  if (descriptors.size() > kMostPassedAtOnce) return fail(Errc::invalid);
  iovec part{&what, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  PassedDescriptors passed;
  passed.put_into(message, descriptors);
  for (;;) {
    if (::sendmsg(wire, &message, MSG_NOSIGNAL) == 1) return {};
    if (errno == EINTR) continue;
    return fail(errno == EPIPE || errno == ECONNRESET ? Errc::device_gone : Errc::device_other, errno);
  }
}

Result<Message> take_message(int wire, std::span<int> into) {
  Message taken;
  iovec part{&taken.what, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  PassedDescriptors passed;
  message.msg_control = passed.room.data();
  message.msg_controllen = passed.room.size();
  ssize_t got = -1;
  do {
    got = ::recvmsg(wire, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return fail(Errc::device_gone);
  if (got < 0)
    return fail(errno == EAGAIN ? Errc::timeout : errno == ECONNRESET ? Errc::device_gone : Errc::device_other, errno);
  bool fits = (message.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
      if (taken.count < into.size()) {
        into[taken.count++] = descriptor;
      } else {
        ::close(descriptor);
        fits = false;
      }
    }
  }
  if (!fits) {
    for (std::size_t i = 0; i < taken.count; ++i) ::close(into[i]);
    return fail(Errc::invalid);
  }
  return taken;
}

}  // namespace remapfs::cli
