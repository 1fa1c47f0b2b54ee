// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "remapfs/error.hpp"

namespace remapfs {

// What failed on a device, and how: by what an access was to do, and by what its error says.
enum class DeviceAccess : std::uint8_t { read, write, zero, sync };
inline constexpr std::size_t kDeviceAccesses = 4;
enum class FailureClass : std::uint8_t {
  media,    // the place that was accessed
  timeout,  // it took too long
  gone,     // the device
  other,
};
inline constexpr std::size_t kFailureClasses = 4;
[[nodiscard]] std::string_view to_string(DeviceAccess access);
[[nodiscard]] std::string_view to_string(FailureClass failure);
[[nodiscard]] inline FailureClass failure_class_of(Errc code) {
  switch (code) {
    case Errc::media: return FailureClass::media;
    case Errc::timeout: return FailureClass::timeout;
    case Errc::device_gone: return FailureClass::gone;
    default: return FailureClass::other;
  }
}

// [DeviceAccess][FailureClass]. Each attempt counts, also those that are repeated.
template <class Number>
using FailureTable = std::array<std::array<Number, kFailureClasses>, kDeviceAccesses>;

// What a volume knows of one of its devices that no file tells: a process that goes on for another one has to know it
// too.
struct DeviceMemory {
  std::atomic<bool> sync_failed{false};      // sticky, until resume or remount
  std::atomic<bool> syncing{false};          // a sync was begun and its end not heard of
  std::atomic<bool> unsynced_writes{false};  // acknowledged, and covered by no sync
  std::atomic<bool> lost_writes{false};      // to be told to one flush
  std::atomic<bool> telling_loss{false};     // told to one, which may not have been answered yet
  std::atomic<bool> breaker_open{false};
  FailureTable<std::atomic<std::uint64_t>> failures{};
};

// Requests, by thread: each line belongs to some threads only.
struct alignas(64) RequestCounters {
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> writes{0};
  std::atomic<std::uint64_t> read_errors{0};   // answered to callers
  std::atomic<std::uint64_t> write_errors{0};  // answered to callers
};

// Everything of a mounted volume that has to outlive the process that serves it, besides what is on its devices and in
// its map. It may lie in memory shared between processes: no pointers, no locks, and each member whole at any moment,
// since a process may be killed at any.
//
// Threads: any.
struct VolumeMemory {
  static constexpr std::size_t kMostDevices = 256;  // by SpareId; 0 is the primary
  static constexpr std::size_t kCounterLines = 32;

  std::array<RequestCounters, kCounterLines> counters;
  std::atomic<std::uint64_t> relocations{0};
  std::array<DeviceMemory, kMostDevices> devices;
};

static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace remapfs
