// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "fuse/mount_memory.hpp"

namespace remapfs::fuse {

// The open files with a failed write that nobody may have noticed: the next fsync through them has to fail.
//
// The kernel sends a synchronous write larger than max_write in parts, one after the other, and when a later part
// fails it answers the bytes before it as a short count. Loop without direct I/O takes that for success (Linux 6.18:
// a write of 1280 KiB whose last 256 KiB failed is acknowledged as a whole). Its flush is the only answer left that
// it believes.
//
// A mark goes only after the answer that tells it: a process that ends in between leaves it to its successor. An fsync
// that comes in between tells it once more.
// Threads: any. Cost: while nothing failed, one relaxed load; no allocation, no lock.
class FailedHandles {
 public:
  explicit FailedHandles(FailedHandlesMemory& memory) : memory_(memory) {}

  // A write through this handle failed. With more handles than there is room for, every handle counts as failed from
  // then on: too many errors rather than one too few.
  void mark(std::uint64_t handle);
  // Whether a write through it failed. Then the caller tells it, and says told() after that.
  [[nodiscard]] bool begin_to_tell(std::uint64_t handle);
  // Forgets what begin_to_tell() saw; a mark made since stays.
  void told(std::uint64_t handle);
  // The file is closed.
  void forget(std::uint64_t handle);

 private:
  template <class Change>
  void change_entries(std::uint64_t handle, Change&& change);

  FailedHandlesMemory& memory_;
};

}  // namespace remapfs::fuse
