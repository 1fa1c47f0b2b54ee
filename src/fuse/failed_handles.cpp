// SPDX-License-Identifier: Apache-2.0
#include "fuse/failed_handles.hpp"

namespace remapfs::fuse {

namespace {

// Handles are nanoseconds since the epoch, doubled, and what was counted up since: never zero, never this large.
constexpr std::uint64_t kTelling = std::uint64_t{1} << 63U;

}  // namespace

// change(entry): what becomes of an entry of the handle, with or without kTelling.
template <class Change>
void FailedHandles::change_entries(std::uint64_t handle, Change&& change) {
  for (std::atomic<std::uint64_t>& place : memory_.handles) {
    std::uint64_t entry = place.load(std::memory_order_acquire);
    while ((entry & ~kTelling) == handle) {
      const std::uint64_t wanted = change(entry);
      if (entry == wanted || place.compare_exchange_weak(entry, wanted, std::memory_order_acq_rel)) break;
    }
  }
}

void FailedHandles::mark(std::uint64_t handle) {
  memory_.any.store(true, std::memory_order_release);
  bool there = false;
  change_entries(handle, [&](std::uint64_t) {
    there = true;
    return handle;
  });
  if (there) return;
  for (std::atomic<std::uint64_t>& place : memory_.handles) {
    std::uint64_t none = 0;
    if (place.compare_exchange_strong(none, handle, std::memory_order_acq_rel)) return;
  }
  memory_.overflowed.store(true, std::memory_order_release);
}

bool FailedHandles::begin_to_tell(std::uint64_t handle) {
  // A mark that this load misses belongs to a write that was not answered when the caller asked for the flush.
  if (!memory_.any.load(std::memory_order_relaxed)) return false;
  bool failed = memory_.overflowed.load(std::memory_order_acquire);
  change_entries(handle, [&](std::uint64_t entry) {
    failed = true;
    return entry | kTelling;
  });
  return failed;
}

void FailedHandles::told(std::uint64_t handle) {
  change_entries(handle, [](std::uint64_t entry) { return (entry & kTelling) != 0 ? 0 : entry; });
}

void FailedHandles::forget(std::uint64_t handle) {
  if (!memory_.any.load(std::memory_order_relaxed)) return;
  change_entries(handle, [](std::uint64_t) { return std::uint64_t{0}; });
}

}  // namespace remapfs::fuse
