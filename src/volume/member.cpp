// SPDX-License-Identifier: Apache-2.0
#include "volume/member.hpp"

namespace remapfs {

namespace {
constexpr std::chrono::milliseconds kProbeServes{100};

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }
}  // namespace

bool Member::open_breaker() {
  if (breaker_open_.exchange(true, std::memory_order_acq_rel)) return false;
  if (unsynced_writes_.load(std::memory_order_acquire)) lost_writes_.store(true, std::memory_order_release);
  return true;
}

void Member::close_breaker() {
  probed_at_[0].store(0, std::memory_order_relaxed);
  probed_at_[1].store(0, std::memory_order_relaxed);
  breaker_open_.store(false, std::memory_order_release);
}

Result<void> Member::sync() {
  if (sync_failed()) return fail(Errc::failed);
  // Writes that complete from here on set it again, whether this sync covers them or not.
  const bool had_writes = unsynced_writes_.exchange(false, std::memory_order_acq_rel);
  if (auto synced = device_->sync(); !synced) {
    if (had_writes) unsynced_writes_.store(true, std::memory_order_release);
    return synced;
  }
  return {};
}

std::optional<ByteOffset> Member::good_place(std::size_t i) const {
  const std::uint64_t value = good_places_[i % kGoodPlaces].load(std::memory_order_relaxed);
  if (value == 0) return std::nullopt;
  return ByteOffset(value - 1);
}

bool Member::probed_recently(bool write) const {
  const std::int64_t at = probed_at_[write ? 1 : 0].load(std::memory_order_relaxed);
  return at != 0 && now_ns() - at < std::chrono::nanoseconds(kProbeServes).count();
}

void Member::note_probe(bool write) { probed_at_[write ? 1 : 0].store(now_ns(), std::memory_order_relaxed); }

}  // namespace remapfs
