// SPDX-License-Identifier: Apache-2.0
#include "remapfs/member_device.hpp"

namespace remapfs {

Result<void> MemberDevice::sync() {
  const MutexLock lock(mutex_);
  return sync_locked();
}

Result<void> MemberDevice::flush(bool& lost) {
  const MutexLock lock(mutex_);
  lost = std::exchange(lost_writes_, false);
  if (lost) return fail(Errc::failed);
  return sync_locked();
}

Result<void> MemberDevice::sync_locked() {
  if (sync_failed()) return fail(Errc::failed);
  // Writes that complete from here on set it again, whether this sync covers them or not.
  const bool had_writes = unsynced_writes_.exchange(false, std::memory_order_acq_rel);
  auto synced = device_->sync();
  if (!synced) {
    if (had_writes) unsynced_writes_.store(true, std::memory_order_release);
    sync_failed_.store(true, std::memory_order_release);
  }
  return synced;
}

Result<void> MemberDevice::reopen() {
  const MutexLock lock(mutex_);
  auto reopened = device_->reopen();
  // A sync of the new file would know nothing of what the old one lost.
  if (reopened && unsynced_writes_.load(std::memory_order_acquire)) lost_writes_ = true;
  return reopened;
}

bool MemberDevice::trust_again(bool after_loss) {
  const MutexLock lock(mutex_);
  if (after_loss && unsynced_writes_.load(std::memory_order_acquire)) lost_writes_ = true;
  return sync_failed_.exchange(false, std::memory_order_acq_rel);
}

}  // namespace remapfs
