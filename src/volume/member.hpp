// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/slot_allocator.hpp"
#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// One device of a volume and what is known of its health.
//
// Threads: every member; flags are atomics, since requests look at them without a lock.
class Member {
 public:
  Member(SpareId id, std::unique_ptr<BlockDevice> device) : id_(id), device_(std::move(device)) {}

  [[nodiscard]] SpareId id() const { return id_; }
  [[nodiscard]] bool is_primary() const { return id_ == 0; }
  [[nodiscard]] bool missing() const { return device_ == nullptr; }
  [[nodiscard]] BlockDevice& device() const { return *device_; }

  // For a spare: where its slots are and which are taken.
  ByteOffset first_slot;
  std::unique_ptr<SlotAllocator> slots;

  // --- The breaker: open means that the device is gone or fails everywhere. ---
  [[nodiscard]] bool breaker_open() const { return breaker_open_.load(std::memory_order_acquire); }
  // True if this call opened it.
  bool open_breaker();
  // Acknowledged writes that no sync covered may be gone with the device: then the next flush fails.
  void close_breaker();

  // --- Sync failures are sticky until resume or remount. ---
  [[nodiscard]] bool sync_failed() const { return sync_failed_.load(std::memory_order_acquire); }
  // True if this call was the first to know.
  bool set_sync_failed() { return !sync_failed_.exchange(true, std::memory_order_acq_rel); }
  void clear_sync_failed() { sync_failed_.store(false, std::memory_order_release); }
  // True once after a resume that may have lost acknowledged writes.
  bool take_lost_writes() { return lost_writes_.exchange(false, std::memory_order_acq_rel); }

  // Syncs the device and keeps the sticky flag. Errors: the device's; failed when a sync failed before.
  Result<void> sync();

  // A write was acknowledged, or is about to be.
  void note_write() {
    if (!unsynced_writes_.load(std::memory_order_relaxed)) unsynced_writes_.store(true, std::memory_order_release);
  }

  // --- Places that worked before, for probes. ---
  void note_good(ByteOffset place) {
    good_places_[next_good_.fetch_add(1, std::memory_order_relaxed) % kGoodPlaces].store(place.value() + 1,
                                                                                         std::memory_order_relaxed);
  }
  static constexpr std::size_t kGoodPlaces = 8;
  [[nodiscard]] std::optional<ByteOffset> good_place(std::size_t i) const;

  // --- One probe's result serves 100 ms. ---
  [[nodiscard]] bool probed_recently(bool write) const;
  void note_probe(bool write);

 private:
  SpareId id_;
  std::unique_ptr<BlockDevice> device_;
  std::atomic<bool> breaker_open_{false};
  std::atomic<bool> sync_failed_{false};
  std::atomic<bool> unsynced_writes_{false};
  std::atomic<bool> lost_writes_{false};
  std::atomic<std::uint32_t> next_good_{0};
  std::array<std::atomic<std::uint64_t>, kGoodPlaces> good_places_{};  // offset + 1; 0 is none
  std::array<std::atomic<std::int64_t>, 2> probed_at_{};               // steady clock, ns; [write]
};

}  // namespace remapfs
