// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "volume/impl.hpp"

// Is it a bad sector or a broken device? Before any entry is made the device must show that it works elsewhere
// (promise I6).

namespace remapfs {

namespace {
// Three places decide about a device that takes long to fail: whoever waits for the answer holds a block. One that
// fails at once is asked at more: a disk may die in several regions, and the three may lie in those.
constexpr std::size_t kPlacesToTry = 3;
constexpr std::size_t kMostPlaces = 12;
constexpr std::chrono::milliseconds kTimeForMore{500};
constexpr std::size_t kOtherPlaces = 16;
// A probe may hold a second block beside the one at fault, but must not wait for its other users for long: two
// requests that probe each other's block would wait for each other.
constexpr std::chrono::milliseconds kProbeHold{50};
// For reading the rest of a block that a probe has ruined; after that its ruined sectors are given up.
constexpr std::chrono::milliseconds kRescueTime{1000};
}  // namespace

Result<void> Volume::Impl::confirm_media(Member& member, const Error& error, bool write, ByteRange fault,
                                         std::span<std::byte> aside) {
  if (member.breaker_open()) return fail(Errc::suspended);
  if (error.code == Errc::device_gone) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  if (!is_media_error(error)) return fail(error);
  if (member.probed_recently(write)) return {};

  Probe probe = Probe::nothing_to_try;
  if (write) probe = member.is_primary() ? probe_primary_writes(fault, aside) : probe_spare_writes(member, aside);
  // Where no other block could be written (all are remapped, say), reads have to speak for the device.
  const bool only_reads = probe == Probe::nothing_to_try;
  if (only_reads) probe = probe_reads(member, fault, aside);
  if (probe == Probe::broken) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  // A device without any other place to ask has only this one to be judged by: nothing follows for later errors.
  if (probe == Probe::works && !(write && only_reads)) member.note_probe(write);
  return {};
}

Result<void> Volume::Impl::confirm_lost(const HeldBlock& held, const Error& error, std::span<std::byte> aside) {
  held.member->forget_probe(false);
  return confirm_media(*held.member, error, false, held.on_device(), aside);
}

// Asks places away from the fault until one works: first those that worked before, then others all over the device.
template <class Try>
Volume::Impl::Probe Volume::Impl::probe_places(Member& member, ByteRange fault, Try&& try_place) {
  const std::uint64_t length = std::max<std::uint64_t>(member.device().geometry().logical_block, kSectorSize);
  const std::uint64_t end =
      round_down(member.is_primary() ? size.value() : member.device().geometry().size.value(), length);
  std::array<std::uint64_t, kMostPlaces> tried{};
  std::size_t count = 0;
  const Deadline time_for_more(kTimeForMore);
  const auto enough = [&] { return count == kMostPlaces || (count >= kPlacesToTry && time_for_more.passed()); };
  const auto works = [&](ByteOffset place) {
    const ByteOffset at(round_down(place.value(), length));
    if (at.value() + length > end) return false;
    const std::uint64_t block = geometry.block_of(at).value();  // of a spare: a stretch as long as a block
    if (fault.begin < at + length && at < fault.end) return false;
    if (std::find(tried.begin(), tried.begin() + count, block) != tried.begin() + count) return false;
    // What has an entry is no measure of the primary: it may have failed there already.
    if (member.is_primary() && table->find(geometry.block_of(at))) return false;
    const std::optional<bool> worked = try_place(at, length);
    if (worked) tried[count++] = block;
    return worked.value_or(false);
  };
  for (std::size_t i = 0; i < Member::kKnownPlaces && !enough(); ++i) {
    if (const auto place = member.known_place(i); place && works(*place)) return Probe::works;
  }
  for (std::size_t i = 0; i < kOtherPlaces && !enough(); ++i) {
    if (works(ByteOffset(end / kOtherPlaces * i))) return Probe::works;
  }
  return count == 0 ? Probe::nothing_to_try : Probe::broken;
}

Volume::Impl::Probe Volume::Impl::probe_reads(Member& member, ByteRange fault, std::span<std::byte> buffer) {
  BlockDevice& device = member.device();
  return probe_places(member, fault, [&](ByteOffset at, std::uint64_t length) -> std::optional<bool> {
    device.drop_cache({at, at + length});
    return device.read_exact(at, buffer.first(length)).has_value();
  });
}

Volume::Impl::Probe Volume::Impl::probe_primary_writes(ByteRange fault, std::span<std::byte> buffer) {
  BlockDevice& device = member(0)->device();
  return probe_places(*member(0), fault, [&](ByteOffset at, std::uint64_t length) -> std::optional<bool> {
    const BlockIndex block = geometry.block_of(at);
    const auto hold = gate.exclude_another({block, block + 1}, Deadline(kProbeHold));
    // Its entry may have come before the hold.
    if (!hold || table->find(block)) return std::nullopt;
    const std::uint64_t inside = geometry.offset_in_block(at);
    const auto content = buffer.first(geometry.block_size());
    const auto aside = buffer.subspan(geometry.block_size());
    const auto bytes = content.subspan(inside, length);
    if (!device.read_exact(at, bytes)) return false;
    if (device.write_all(at, bytes)) return true;
    if (!still_there(at, bytes, aside.first(length))) {
      rescue(block, BlockGeometry::sectors_touching(inside, inside + length), content, aside);
    }
    return false;
  });
}

// A write that failed may have changed what it was to replace.
bool Volume::Impl::still_there(ByteOffset at, std::span<const std::byte> bytes, std::span<std::byte> buffer) {
  BlockDevice& device = member(0)->device();
  device.drop_cache({at, at + bytes.size()});
  const auto read = device.read_exact(at, buffer);
  // A device that does not answer has not ruined anything yet.
  if (!read) return !is_media_error(read.error());
  return std::memcmp(buffer.data(), bytes.data(), bytes.size()) == 0;
}

void Volume::Impl::rescue(BlockIndex block, SectorMask known, std::span<std::byte> content,
                          std::span<std::byte> aside) {
  const auto settled = [&](auto&& stage) {
    // Another probe may have opened the breaker: what is ruined is ruined.
    const auto held = look_up(block, true);
    if (!held) return false;
    Batch batch;
    const bool staged = stage(*held, batch);
    return settle(batch, aside) && staged;
  };
  const auto relocate = [&](const HeldBlock& held, Batch& batch) {
    const Deadline deadline(kRescueTime);
    return stage_relocation(held, known, content, aside, deadline, nullptr, Cause::write_error, batch).has_value();
  };
  const auto lose = [&](const HeldBlock& held, Batch& batch) {
    stage_ruined(held, known, batch);
    return true;
  };
  if (settled(relocate) || settled(lose)) return;
  // Neither a slot nor a map.
  poison_ruined(block);
}

void Volume::Impl::poison_ruined(BlockIndex block) {
  if (is_unfinished(block)) return;  // the map took note
  tell({"ruined", block, "a failed write ruined it, and neither a slot nor the map took note: it answers nothing now"});
  if (!table->find(block) && !table->reserve(1)) return;
  publish(block, Mapping{EntryState::poisoned, {}, 0});
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
  // What is a part of the same device is gone with it, and must not be synced before its losses are known.
  if (error.code == Errc::device_gone) {
    for_each_member([&](Member& other) {
      const bool gone = !other.missing() && other.device().shares_descriptor_with(member.device());
      if (gone) static_cast<void>(other.open_breaker());
    });
  }
  static_cast<void>(record({"breaker-open", std::nullopt,
                            fmt::format("{} does not work anywhere ({}): I/O on it fails until `remapfs resume`",
                                        member.device().name(), describe(error))}));
}

void Volume::Impl::sync_failed_on(Member& member, const Error& error) {
  if (!member.announce_sync_failure()) return;
  static_cast<void>(record({"sync-failed", std::nullopt,
                            fmt::format("{}: {}; every flush fails until `remapfs resume` or remount",
                                        member.device().name(), describe(error))}));
}

void Volume::Impl::seed_good_places(Member& member) {
  BlockDevice& device = member.device();
  const std::uint64_t length = std::max<std::uint64_t>(device.geometry().logical_block, 4096);
  const std::uint64_t end = member.is_primary() ? size.value() : device.geometry().size.value();
  const auto scratch = scratches->take(length);
  for (std::size_t i = 0; i < Member::kSeeds; ++i) {
    const ByteOffset at(round_down(end / Member::kSeeds * i + end / Member::kSeeds / 2, length));
    if (at.value() + length > end) continue;
    if (member.is_primary() && table->find(geometry.block_of(at))) continue;
    if (device.read_exact(at, scratch.main().first(length))) member.seed(i, at);
  }
}

std::uint64_t Volume::Impl::resumes_so_far() {
  MutexLock lock(resume_mutex);
  return resumes;
}

Result<void> Volume::Impl::wait_for_resume(std::uint64_t seen) {
  MutexLock lock(resume_mutex);
  while (!closing && resumes == seen) resumed.wait(lock);
  if (closing) return fail(Errc::interrupted);
  return {};
}

}  // namespace remapfs
