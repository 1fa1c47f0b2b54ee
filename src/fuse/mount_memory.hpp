// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace remapfs::fuse {

// Open files with a failed write that nobody may have noticed: see FailedHandles.
struct FailedHandlesMemory {
  static constexpr std::size_t kRoom = 1024;
  std::atomic<bool> any{false};         // once, in this mount
  std::atomic<bool> overflowed{false};  // every file counts as one
  std::array<std::atomic<std::uint64_t>, kRoom> handles{};
};

// What was set with chmod, chown and utimens. Times are nanoseconds since the epoch.
struct AttributesMemory {
  std::atomic<bool> set{false};  // the rest means something
  std::atomic<std::uint32_t> uid{0};
  std::atomic<std::uint32_t> gid{0};
  std::atomic<std::uint32_t> mode{0};
  std::atomic<std::int64_t> modified{0};
  std::atomic<std::int64_t> accessed{0};
  std::atomic<std::int64_t> changed{0};
};

// Everything of a mount that has to outlive the process that serves it. It may lie in memory shared between processes:
// no pointers, no locks, and each member whole at any moment, since a process may be killed at any.
//
// Threads: any.
struct MountMemory {
  AttributesMemory attributes;
  FailedHandlesMemory failed_handles;
};

}  // namespace remapfs::fuse
