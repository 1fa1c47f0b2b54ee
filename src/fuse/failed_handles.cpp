// SPDX-License-Identifier: Apache-2.0
#include "fuse/failed_handles.hpp"

#include <algorithm>

namespace remapfs::fuse {

FailedHandles::FailedHandles(std::size_t capacity) { handles_.reserve(capacity); }

void FailedHandles::mark(std::uint64_t handle) {
  MutexLock lock(mutex_);
  any_.store(true, std::memory_order_relaxed);
  if (std::find(handles_.begin(), handles_.end(), handle) != handles_.end()) return;
  if (handles_.size() == handles_.capacity()) {
    overflowed_ = true;
    return;
  }
  handles_.push_back(handle);
}

bool FailedHandles::take(std::uint64_t handle) {
  // A mark that this load misses belongs to a write that was not answered when the caller asked for the flush.
  if (!any_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(mutex_);
  if (overflowed_) return true;
  const auto found = std::find(handles_.begin(), handles_.end(), handle);
  if (found == handles_.end()) return false;
  *found = handles_.back();
  handles_.pop_back();
  any_.store(!handles_.empty(), std::memory_order_relaxed);
  return true;
}

}  // namespace remapfs::fuse
