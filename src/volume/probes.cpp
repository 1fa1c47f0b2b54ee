// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "volume/impl.hpp"

// Is it a bad sector or a broken device? Before any entry is made the device must show that it works elsewhere
// (promise I6).

namespace remapfs {

namespace {
constexpr std::size_t kPlacesToTry = 3;
// A probe may hold a second block beside the one at fault, but must not wait for its other users for long: two
// requests that probe each other's block would wait for each other.
constexpr std::chrono::milliseconds kProbeHold{50};
}  // namespace

Result<void> Volume::Impl::confirm_media(Member& member, const Error& error, bool write, BlockRange held,
                                         std::span<std::byte> aside) {
  if (member.breaker_open()) return fail(Errc::suspended);
  if (error.code == Errc::device_gone) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  if (!is_media_error(error)) return fail(error);
  if (member.probed_recently(write)) return {};

  const auto probe = [&](bool writing) {
    if (!writing) return probe_reads(member, held, aside);
    return member.is_primary() ? probe_primary_writes(held, aside) : probe_spare_writes(member, aside);
  };
  if (probe(write) == Probe::broken) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  member.note_probe(write);
  return {};
}

Volume::Impl::Probe Volume::Impl::probe_reads(Member& member, BlockRange held, std::span<std::byte> buffer) {
  BlockDevice& device = member.device();
  const std::uint32_t length = device.geometry().logical_block;
  std::vector<std::uint64_t> tried;
  for (std::size_t i = 0; i < Member::kGoodPlaces && tried.size() < kPlacesToTry; ++i) {
    const auto place = member.good_place(i);
    if (!place) continue;
    const BlockIndex block = geometry.block_of(*place);
    if (member.is_primary() && held.contains(block)) continue;
    if (std::find(tried.begin(), tried.end(), block.value()) != tried.end()) continue;
    tried.push_back(block.value());
    const ByteOffset at(round_down(place->value(), length));
    device.drop_cache({at, at + length});
    const std::uint64_t rest = device.geometry().size.value() - at.value();
    if (device.read_exact(at, buffer.first(std::min<std::uint64_t>(length, rest)))) return Probe::works;
  }
  return tried.empty() ? Probe::nothing_to_try : Probe::broken;
}

Volume::Impl::Probe Volume::Impl::probe_primary_writes(BlockRange held, std::span<std::byte> buffer) {
  Member& primary = *member(0);
  BlockDevice& device = primary.device();
  const std::uint32_t length = device.geometry().logical_block;
  std::vector<std::uint64_t> tried;
  for (std::size_t i = 0; i < Member::kGoodPlaces && tried.size() < kPlacesToTry; ++i) {
    const auto place = primary.good_place(i);
    if (!place) continue;
    const BlockIndex block = geometry.block_of(*place);
    if (held.contains(block) || table->find(block)) continue;
    if (std::find(tried.begin(), tried.end(), block.value()) != tried.end()) continue;
    const auto hold = gate.exclude({block, block + 1}, Deadline(kProbeHold));
    if (!hold) continue;
    const ByteOffset at(round_down(place->value(), length));
    const auto bytes = buffer.first(std::min<std::uint64_t>(length, size.value() - at.value()));
    tried.push_back(block.value());
    if (device.read_exact(at, bytes) && device.write_all(at, bytes)) return Probe::works;
  }
  return tried.empty() ? Probe::nothing_to_try : Probe::broken;
}

Volume::Impl::Probe Volume::Impl::probe_spare_writes(Member& spare, std::span<std::byte> buffer) {
  // The first and the last bytes of a spare hold its superblocks: they worked when the volume was opened, and nobody
  // but the store writes them.
  BlockDevice& device = spare.device();
  const std::uint64_t length = std::max<std::uint64_t>(device.geometry().logical_block, 4096);
  const auto bytes = buffer.first(length);
  const std::uint64_t last = round_down(device.geometry().size.value() - length, length);
  Probe result = Probe::broken;
  commits.between_commits([&] {
    for (const ByteOffset at : {ByteOffset(0), ByteOffset(last)}) {
      if (device.read_exact(at, bytes) && device.write_all(at, bytes)) result = Probe::works;
    }
  });
  return result;
}

void Volume::Impl::open_breaker(Member& member, const Error& error) {
  if (!member.open_breaker()) return;
  static_cast<void>(record({"breaker-open", std::nullopt,
                            fmt::format("{} does not work anywhere ({}): I/O on it fails until `remapfs resume`",
                                        member.device().name(), describe(error))}));
}

void Volume::Impl::sync_failed_on(Member& member, const Error& error) {
  if (!member.set_sync_failed()) return;
  static_cast<void>(record({"sync-failed", std::nullopt,
                            fmt::format("{}: {}; every flush fails until `remapfs resume` or remount",
                                        member.device().name(), describe(error))}));
}

void Volume::Impl::seed_good_places(Member& member) {
  BlockDevice& device = member.device();
  const std::uint64_t length = std::max<std::uint64_t>(device.geometry().logical_block, 4096);
  const std::uint64_t end = member.is_primary() ? size.value() : device.geometry().size.value();
  const auto scratch = scratches->take();
  for (std::size_t i = 0; i < Member::kGoodPlaces; ++i) {
    const ByteOffset at(round_down(end / Member::kGoodPlaces * i + end / Member::kGoodPlaces / 2, length));
    if (at.value() + length > end) continue;
    if (member.is_primary() && table->find(geometry.block_of(at))) continue;
    if (device.read_exact(at, scratch.main().first(length))) member.note_good(at);
  }
}

bool Volume::Impl::any_breaker_open() const {
  return std::any_of(members.begin(), members.end(),
                     [](const auto& member) { return member && member->breaker_open(); });
}

Result<void> Volume::Impl::wait_for_resume() {
  MutexLock lock(resume_mutex);
  while (!closing && any_breaker_open()) resumed.wait(lock);
  if (closing) return fail(Errc::interrupted);
  return {};
}

}  // namespace remapfs
