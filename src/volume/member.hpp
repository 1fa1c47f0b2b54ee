// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/slot_allocator.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/member_device.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// One device of a volume and what is known of its health.
//
// Threads: every member; flags are atomics, since requests look at them without a lock.
class Member {
 public:
  Member(SpareId id, std::unique_ptr<MemberDevice> device) : id_(id), device_(std::move(device)) {}

  [[nodiscard]] SpareId id() const { return id_; }
  [[nodiscard]] bool is_primary() const { return id_ == 0; }
  [[nodiscard]] bool missing() const { return device_ == nullptr; }
  [[nodiscard]] MemberDevice& device() const { return *device_; }

  // For a spare: where its slots are and which are taken.
  ByteOffset first_slot;
  std::unique_ptr<SlotAllocator> slots;

  // A spare that is being emptied is given no new blocks. begin: false if it is already.
  [[nodiscard]] bool retiring() const { return retiring_.load(std::memory_order_acquire); }
  bool begin_retiring() { return !retiring_.exchange(true, std::memory_order_acq_rel); }
  void end_retiring() { retiring_.store(false, std::memory_order_release); }

  // It lacks its part of an unfinished commit: nothing new is put there.
  [[nodiscard]] bool behind() const { return behind_.load(std::memory_order_acquire); }
  void set_behind(bool behind) { behind_.store(behind, std::memory_order_release); }

  // --- The breaker: open means that the device is gone or fails everywhere. ---
  [[nodiscard]] bool breaker_open() const { return device_->memory().breaker_open.load(std::memory_order_acquire); }
  // True if this call opened it.
  bool open_breaker() { return !device_->memory().breaker_open.exchange(true, std::memory_order_acq_rel); }

  // --- Sync failures are sticky until resume or remount: see MemberDevice. ---
  [[nodiscard]] bool sync_failed() const { return device_->sync_failed(); }
  // True if this is the first word of a failure.
  bool announce_sync_failure() { return !sync_failure_announced_.exchange(true, std::memory_order_acq_rel); }
  // The operator says that the device is to be trusted again: closes the breaker. True if a sync had failed.
  bool trust_again();

  // --- Places that worked before, for probes: some from all over the device when it was opened, and the latest. ---
  static constexpr std::size_t kSeeds = 8;
  static constexpr std::size_t kLatest = 8;
  static constexpr std::size_t kKnownPlaces = kSeeds + kLatest;
  void seed(std::size_t i, ByteOffset place) { known_places_[i].store(place.value() + 1, std::memory_order_relaxed); }
  void note_good(ByteOffset place) {
    const std::size_t i = next_latest_.fetch_add(1, std::memory_order_relaxed) % kLatest;
    known_places_[kSeeds + i].store(place.value() + 1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::optional<ByteOffset> known_place(std::size_t i) const;

  // --- One probe's result serves 100 ms. ---
  [[nodiscard]] bool probed_recently(bool write) const;
  void note_probe(bool write);
  void forget_probe(bool write);

 private:
  SpareId id_;
  std::unique_ptr<MemberDevice> device_;
  std::atomic<bool> retiring_{false};
  std::atomic<bool> behind_{false};
  std::atomic<bool> sync_failure_announced_{false};
  std::atomic<std::uint32_t> next_latest_{0};
  std::array<std::atomic<std::uint64_t>, kKnownPlaces> known_places_{};  // offset + 1; 0 is none
  std::array<std::atomic<std::int64_t>, 2> probed_at_{};                 // steady clock, ns; [write]
};

}  // namespace remapfs
