// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "remapfs/thread_annotations.hpp"

namespace remapfs::fuse {

// The open files with a failed write that nobody may have noticed: the next fsync through them has to fail.
//
// The kernel sends a synchronous write larger than max_write in parts, one after the other, and when a later part
// fails it answers the bytes before it as a short count. Loop without direct I/O takes that for success (Linux 6.18:
// a write of 1280 KiB whose last 256 KiB failed is acknowledged as a whole). Its flush is the only answer left that
// it believes.
//
// Threads: any. Cost: while nothing failed, one relaxed load; no allocation after construction.
class FailedHandles {
 public:
  explicit FailedHandles(std::size_t capacity = 1024);

  // A write through this handle failed. With more handles than the capacity, every take() answers true from then on:
  // too many errors rather than one too few.
  void mark(std::uint64_t handle) EXCLUDES(mutex_);
  // Whether a write failed since the last take(); forgets it.
  [[nodiscard]] bool take(std::uint64_t handle) EXCLUDES(mutex_);

 private:
  std::atomic<bool> any_{false};
  Mutex mutex_;
  std::vector<std::uint64_t> handles_ GUARDED_BY(mutex_);
  bool overflowed_ GUARDED_BY(mutex_) = false;
};

}  // namespace remapfs::fuse
