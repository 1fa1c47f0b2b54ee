// SPDX-License-Identifier: Apache-2.0
#include "volume/member.hpp"

namespace remapfs {

namespace {
constexpr std::chrono::milliseconds kProbeServes{100};

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }
}  // namespace

bool Member::trust_again() {
  probed_at_[0].store(0, std::memory_order_relaxed);
  probed_at_[1].store(0, std::memory_order_relaxed);
  const bool had_failed = device_->trust_again();
  sync_failure_announced_.store(false, std::memory_order_release);
  device_->memory().breaker_open.store(false, std::memory_order_release);
  return had_failed;
}

std::optional<ByteOffset> Member::known_place(std::size_t i) const {
  const std::uint64_t value = known_places_[i].load(std::memory_order_relaxed);
  if (value == 0) return std::nullopt;
  return ByteOffset(value - 1);
}

bool Member::probed_recently(bool write) const {
  const std::int64_t at = probed_at_[write ? 1 : 0].load(std::memory_order_relaxed);
  return at != 0 && now_ns() - at < std::chrono::nanoseconds(kProbeServes).count();
}

void Member::forget_probe(bool write) { probed_at_[write ? 1 : 0].store(0, std::memory_order_relaxed); }

void Member::note_probe(bool write) { probed_at_[write ? 1 : 0].store(now_ns(), std::memory_order_relaxed); }

}  // namespace remapfs
