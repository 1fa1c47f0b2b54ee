// SPDX-License-Identifier: Apache-2.0
#include "remapfs/member_device.hpp"

#include <algorithm>
#include <utility>

namespace remapfs {

std::string_view to_string(DeviceAccess access) {
  switch (access) {
    case DeviceAccess::read: return "read";
    case DeviceAccess::write: return "write";
    case DeviceAccess::zero: return "zero";
    case DeviceAccess::sync: return "sync";
  }
  invariant_failed("DeviceAccess has a name", __FILE__, __LINE__);
}

std::string_view to_string(FailureClass failure) {
  switch (failure) {
    case FailureClass::media: return "media";
    case FailureClass::timeout: return "timeout";
    case FailureClass::gone: return "gone";
    case FailureClass::other: return "other";
  }
  invariant_failed("FailureClass has a name", __FILE__, __LINE__);
}

MemberDevice::MemberDevice(std::unique_ptr<BlockDevice> device, MemberDevice* other)
    : device_(std::move(device)), descriptor_(other != nullptr ? other->descriptor_ : std::make_shared<Descriptor>()) {
  const MutexLock lock(descriptor_->mutex);
  descriptor_->members.push_back(this);
}

MemberDevice::~MemberDevice() {
  const MutexLock lock(descriptor_->mutex);
  std::erase(descriptor_->members, this);
}

// A sync would know nothing of what was lost.
void MemberDevice::note_loss_locked() {
  for (MemberDevice* const member : descriptor_->members) {
    DeviceMemory& memory = member->memory();
    if (memory.unsynced_writes.load(std::memory_order_acquire)) memory.lost_writes.store(true);
  }
}

void MemberDevice::share_sync_failure() {
  for (MemberDevice* const member : descriptor_->members) {
    member->memory().sync_failed.store(true, std::memory_order_seq_cst);
  }
}

Result<void> MemberDevice::sync() {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  return sync_locked();
}

Result<void> MemberDevice::flush(bool& lost) {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  DeviceMemory& memory = this->memory();
  lost = memory.lost_writes.load(std::memory_order_acquire);
  // Until a flush comes when nobody tells it any more: should this process end before it answers, its successor tells
  // it again.
  if (lost || telling_ == 0) memory.telling_loss.store(lost, std::memory_order_seq_cst);
  if (!lost) {
    auto synced = sync_locked();
    if (!synced) descriptor_->failure_told = true;
    return synced;
  }
  ++telling_;
  memory.lost_writes.store(false, std::memory_order_seq_cst);
  return fail(Errc::failed);
}

// A device that was away for a moment comes back with an empty cache, and has nothing to sync. Whether that is what an
// access has failed for is found out later: whoever does then marks as lost what is unsynced.
bool MemberDevice::proves_writes_stored_locked() {
  std::uint64_t failures = 0;
  bool all_work = true;
  for (const MemberDevice* const member : descriptor_->members) {
    const DeviceMemory& memory = member->memory();
    all_work = all_work && !memory.breaker_open.load(std::memory_order_acquire);
    for (const auto& row : memory.failures) {
      for (const auto& count : row) failures += count.load(std::memory_order_relaxed);
    }
  }
  return std::exchange(failures_at_sync_, failures) == failures && all_work;
}

void MemberDevice::told_loss() {
  const MutexLock lock(mutex_);
  --telling_;
}

Result<void> MemberDevice::sync_locked() {
  if (sync_failed()) return fail(Errc::failed);
  // Writes that complete from here on set it again, whether this sync covers them or not.
  DeviceMemory& memory = this->memory();
  memory.syncing.store(true, std::memory_order_seq_cst);
  const bool had_writes = memory.unsynced_writes.exchange(false, std::memory_order_seq_cst);
  auto synced = counted(DeviceAccess::sync, device_->sync());
  if (!synced) {
    descriptor_->failure_told = false;
    share_sync_failure();
  }
  const bool stored = proves_writes_stored_locked() && synced;
  if (had_writes && !stored) memory.unsynced_writes.store(true, std::memory_order_release);
  memory.syncing.store(false, std::memory_order_seq_cst);
  return synced;
}

Result<void> MemberDevice::reopen() {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  auto reopened = device_->reopen();
  if (reopened) note_loss_locked();
  return reopened;
}

void MemberDevice::note_loss() {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  note_loss_locked();
}

bool MemberDevice::trust_again() {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  const bool failed = memory().sync_failed.exchange(false, std::memory_order_acq_rel);
  // No flush has said so: the next one does.
  if (failed && !descriptor_->failure_told) note_loss_locked();
  return failed;
}

void MemberDevice::leave_in(DeviceMemory& memory) {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  if (sync_failed()) memory.sync_failed.store(true, std::memory_order_seq_cst);
}

Result<void> MemberDevice::remember_in(DeviceMemory& memory) {
  const MutexLock lock(mutex_);
  const MutexLock all(descriptor_->mutex);
  const auto take_over = [](std::atomic<bool>& to, const std::atomic<bool>& from) {
    if (from.load(std::memory_order_acquire)) to.store(true, std::memory_order_release);
  };
  take_over(memory.sync_failed, own_.sync_failed);
  take_over(memory.unsynced_writes, own_.unsynced_writes);
  take_over(memory.lost_writes, own_.lost_writes);
  take_over(memory.breaker_open, own_.breaker_open);
  take_over(memory.lost_writes, memory.telling_loss);
  for (std::size_t i = 0; i < kDeviceAccesses; ++i) {
    for (std::size_t j = 0; j < kFailureClasses; ++j) memory.failures[i][j] += own_.failures[i][j].load();
  }
  memory_.store(&memory, std::memory_order_release);
  // Whoever knew of it may have ended before he had told the others.
  const auto failed = [](const MemberDevice* member) { return member->sync_failed(); };
  if (std::any_of(descriptor_->members.begin(), descriptor_->members.end(), failed)) share_sync_failure();
  if (!memory.syncing.exchange(false, std::memory_order_acq_rel)) return {};
  // The flag was up before it forgot the writes that it was to cover.
  memory.unsynced_writes.store(true, std::memory_order_release);
  if (sync_failed() || memory.breaker_open.load(std::memory_order_acquire)) return {};
  return sync_locked();
}

}  // namespace remapfs
