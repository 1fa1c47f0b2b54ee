// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/dirty_map.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/volume_memory.hpp"

namespace remapfs {

// A device as member of a volume: whoever syncs it (a flush, a commit, a removal) goes through the one door below.
//
// The kernel reports a write that could not be stored to one sync of an open file, and to no later one. Syncs here go
// one at a time, and the first failure is remembered before anybody hears of it: every later sync fails with `failed`,
// until trust_again(). Members that are parts of one device have one descriptor: what a sync of one is told, and a
// loss, is remembered for all of them.
//
// A device that vanished and came back may have lost acknowledged writes that no sync covered: that is found out when
// it is opened again or taken back, and told to one flush. So is a failed sync that no flush had told of when the
// device is trusted again. A sync that succeeds while accesses fail covers nothing in this sense.
//
// Threads: as BlockDevice. Cost: one virtual call more for each transfer.
class MemberDevice final : public BlockDevice {
 public:
  explicit MemberDevice(std::unique_ptr<BlockDevice> device) : MemberDevice(std::move(device), nullptr) {}
  // other: a part of the same device, or null.
  MemberDevice(std::unique_ptr<BlockDevice> device, MemberDevice* other);
  ~MemberDevice() override;
  MemberDevice(const MemberDevice&) = delete;
  MemberDevice& operator=(const MemberDevice&) = delete;

  // Not on behalf of those whose writes were acknowledged: a flush tells them how it went.
  Result<void> sync() override EXCLUDES(mutex_);
  // A sync on behalf of who is told how it went, and of what was lost before: `failed`, once, having remembered nothing
  // else. lost: set to whether that was it; then the caller says told_loss() once it is told.
  Result<void> flush(bool& lost) EXCLUDES(mutex_);
  void told_loss() EXCLUDES(mutex_);
  [[nodiscard]] bool sync_failed() const { return memory().sync_failed.load(std::memory_order_acquire); }

  [[nodiscard]] bool shares_descriptor_with(const MemberDevice& other) const {
    return descriptor_ == other.descriptor_;
  }

  // A write was acknowledged, or is about to be.
  void note_write() {
    auto& unsynced = memory().unsynced_writes;
    if (!unsynced.load(std::memory_order_relaxed)) unsynced.store(true, std::memory_order_release);
  }
  // The operator says that the device is to be trusted again. Only while no transfer is in flight. True if a sync had
  // failed.
  bool trust_again() EXCLUDES(mutex_);
  // It did not answer for a while: what no sync had covered may be lost, to it and to the other members on its
  // descriptor. Before any of them is trusted again.
  void note_loss() EXCLUDES(mutex_);

  // Marks in `map` what changes from now on, once it was tried, whether or not it failed. Null: no more. Changes that
  // are under way may not be seen: the caller lets them end, and keeps the map until they have. map outlives that.
  void mark_changes_in(DirtyMap* map) { dirty_.store(map, std::memory_order_release); }
  // A change was tried that was not made through this object.
  void note_change(ByteRange range) {
    if (DirtyMap* const map = dirty_.load(std::memory_order_acquire)) map->mark(range);
  }
  // Nothing is changed any more: whoever wants to is answered `failed`.
  void freeze() { frozen_.store(true, std::memory_order_release); }

  // An access failed that was not made through this object.
  void note_failure(DeviceAccess access, Errc code) {
    if (code == Errc::unsupported) return;  // nothing was tried
    auto& row = memory().failures[static_cast<std::size_t>(access)];
    row[static_cast<std::size_t>(failure_class_of(code))].fetch_add(1, std::memory_order_relaxed);
  }

  // Knows from now on what `memory` knows, and keeps what it learns there. When the process that knew it ended in the
  // middle of a sync, its outcome is unknown: the device is synced again. Errors: that sync's, remembered.
  // Before any transfer of a request. memory outlives this object.
  Result<void> remember_in(DeviceMemory& memory) EXCLUDES(mutex_);
  // As long as it is held no sync begins. Not held: one is under way.
  [[nodiscard]] std::unique_lock<Mutex> try_hold_syncs() { return {mutex_, std::try_to_lock}; }
  // The volume could not be opened: what the next process must know of it.
  void leave_in(DeviceMemory& memory) EXCLUDES(mutex_);
  // What it learns from now on is its own again: another device has its place. Only while syncs are held.
  void forget_memory() {
    const MutexLock all(descriptor_->mutex);
    memory_.store(&own_, std::memory_order_release);
  }
  [[nodiscard]] DeviceMemory& memory() const { return *memory_.load(std::memory_order_acquire); }

  [[nodiscard]] const DeviceGeometry& geometry() const override { return device_->geometry(); }
  [[nodiscard]] const std::string& name() const override { return device_->name(); }
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override {
    return counted(DeviceAccess::read, device_->read_exact(offset, buffer));
  }
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override {
    return change(DeviceAccess::write, {offset, offset + data.size()},
                  [&] { return device_->write_all(offset, data); });
  }
  Result<void> zero_range(ByteRange range) override {
    return change(DeviceAccess::zero, range, [&] { return device_->zero_range(range); });
  }
  Result<void> punch_hole(ByteRange range) override {
    return change(DeviceAccess::zero, range, [&] { return device_->punch_hole(range); });
  }
  Result<ByteOffset> seek_data(ByteOffset from) override { return device_->seek_data(from); }
  Result<ByteOffset> seek_hole(ByteOffset from) override { return device_->seek_hole(from); }
  void drop_cache(ByteRange range) override { device_->drop_cache(range); }
  [[nodiscard]] std::string stamp() const override { return device_->stamp(); }
  Result<void> reopen() override EXCLUDES(mutex_);
  [[nodiscard]] int native_handle() const override { return device_->native_handle(); }
  [[nodiscard]] ByteOffset native_begin() const override { return device_->native_begin(); }
  [[nodiscard]] bool ready_for(bool write) const override {
    return !(write && frozen_.load(std::memory_order_acquire)) && device_->ready_for(write);
  }
  [[nodiscard]] Error failure_of(int os_errno) const override { return device_->failure_of(os_errno); }

 private:
  void note_loss_locked() REQUIRES(descriptor_->mutex);
  void share_sync_failure() REQUIRES(descriptor_->mutex);
  Result<void> sync_locked() REQUIRES(mutex_, descriptor_->mutex);
  // That a sync which has just succeeded stored all that had been written before. Once for each sync.
  bool proves_writes_stored_locked() REQUIRES(mutex_, descriptor_->mutex);
  Result<void> counted(DeviceAccess access, Result<void> done) {
    if (!done) note_failure(access, done.error().code);
    return done;
  }

  template <class Change>
  Result<void> change(DeviceAccess access, ByteRange range, Change&& make) {
    if (frozen_.load(std::memory_order_acquire)) return fail(Errc::failed);
    auto done = counted(access, make());
    note_change(range);
    return done;
  }

  const std::unique_ptr<BlockDevice> device_;
  std::atomic<DirtyMap*> dirty_{nullptr};
  std::atomic<bool> frozen_{false};
  Mutex mutex_;  // held over a sync and a reopen of this member; taken before the descriptor's
  unsigned telling_ GUARDED_BY(mutex_) = 0;                // flushes that tell a loss, and are not over
  std::uint64_t failures_at_sync_ GUARDED_BY(mutex_) = 0;  // of all on the descriptor, by the last sync
  DeviceMemory own_;
  std::atomic<DeviceMemory*> memory_{&own_};

  // Of all members on it.
  struct Descriptor {
    Mutex mutex;  // held over a sync and a reopen of any of them
    std::vector<MemberDevice*> members GUARDED_BY(mutex);
    bool failure_told GUARDED_BY(mutex) = false;  // of the last sync that failed, by a flush
  };
  const std::shared_ptr<Descriptor> descriptor_;
};

}  // namespace remapfs
