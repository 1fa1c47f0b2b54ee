// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace remapfs::fuse {

// How many background requests (asynchronous direct I/O, read-ahead) the kernel sends at once, and from how many on it
// counts the mount as congested.
struct ConnectionLimits {
  std::uint32_t max_background = 0;
  std::uint32_t congestion_threshold = 0;
  bool confirmed = false;  // read back from the kernel, not worked out

  friend constexpr bool operator==(const ConnectionLimits&, const ConnectionLimits&) = default;
};

// What the kernel granted of the limits asked for. The kernel lowers both for mounts served without CAP_SYS_ADMIN
// (process_init_limits, Linux 6.18); where /sys/fs/fuse/connections cannot be read, the same rule is worked out here.
// connection: number of the connection; none when it is not known.
[[nodiscard]] ConnectionLimits granted_limits(const ConnectionLimits& asked, std::optional<unsigned> connection);

}  // namespace remapfs::fuse
