// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// Linux takes up to 253 descriptors in one message (SCM_MAX_FD, Linux 6.18).
inline constexpr std::size_t kMostPassedAtOnce = 200;

// Room for the descriptors of one message.
struct PassedDescriptors {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostPassedAtOnce)> room{};

  // Puts them into the message; at most kMostPassedAtOnce. The message must not outlive this.
  void put_into(msghdr& message, std::span<const int> descriptors);
};

// The two ends of a connection that keeps messages apart. Errors: no_memory.
struct Wire {
  UniqueFd ours;
  UniqueFd theirs;
  static Result<Wire> create();
};

// Sends one message: a byte, and up to kMostPassedAtOnce descriptors. Errors: device_gone (nobody is at the other end),
// device_other.
[[nodiscard]] Result<void> send_message(int wire, char what, std::span<const int> descriptors = {});

struct Message {
  char what = 0;
  std::size_t count = 0;  // of descriptors
};
// Takes one message, its descriptors into `into` (closed on exec). Never waits. Errors: device_gone (the other end is
// closed), timeout (there is none), invalid (more descriptors than room), device_other. No allocation.
[[nodiscard]] Result<Message> take_message(int wire, std::span<int> into);

}  // namespace remapfs::cli
