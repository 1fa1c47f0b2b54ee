// SPDX-License-Identifier: Apache-2.0
#include "support/fake_disk.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace remapfs::testing {
namespace {

// Fills the buffers of failed reads: no caller may take it for data.
constexpr std::byte kScribble{0xDB};

ByteRange range_at(ByteOffset offset, std::size_t size) { return {offset, offset + size}; }

bool applies(FaultRule::On on, FakeOperation::Kind kind) {
  return on == FaultRule::On::both || (on == FaultRule::On::read) == (kind == FakeOperation::Kind::read);
}

}  // namespace

FakeDisk::FakeDisk(ByteCount size, DeviceGeometry geometry, std::string name)
    : geometry_(geometry), name_(std::move(name)), medium_(ByteCount(round_down(size.value(), kSectorSize))) {
  geometry_.size = ByteCount(round_down(size.value(), kSectorSize));
  REMAPFS_INVARIANT(geometry_.logical_block >= kSectorSize && std::has_single_bit(geometry_.logical_block));
}

std::unique_ptr<FakeDisk> FakeDisk::with_logical_block(ByteCount size, std::uint32_t logical_block) {
  DeviceGeometry geometry;
  geometry.logical_block = logical_block;
  geometry.physical_block = std::max<std::uint32_t>(logical_block, 4096);
  geometry.memory_alignment = logical_block;
  return std::make_unique<FakeDisk>(size, geometry);
}

void FakeDisk::check(ByteRange range) const {
  const std::uint64_t size = geometry_.size.value();
  REMAPFS_INVARIANT(range.begin <= range.end);
  REMAPFS_INVARIANT(range.end.value() <= size);
  REMAPFS_INVARIANT(is_aligned(range.begin.value(), geometry_.logical_block));
  REMAPFS_INVARIANT(is_aligned(range.end.value(), geometry_.logical_block) || range.end.value() == size);
}

void FakeDisk::run_hook(const std::shared_ptr<const Hook>& which, const FakeOperation& operation) {
  if (which != nullptr && *which) (*which)(operation);
}

std::shared_ptr<const FakeDisk::Hook> FakeDisk::before() const {
  const MutexLock lock(mutex_);
  return before_;
}

std::shared_ptr<const FakeDisk::Hook> FakeDisk::after() const {
  const MutexLock lock(mutex_);
  return after_;
}

// Counts the operation and answers the error of the disk as a whole, if there is one.
std::optional<Error> FakeDisk::refuse(FakeOperation::Kind kind) {
  ++operations_;
  if (power_off_ || outage_ == Outage::gone) return Error{Errc::device_gone, ENODEV, {}};
  if (until_nth_ > 0 && --until_nth_ == 0) {
    nth_failed_ = true;
    return nth_error_;
  }
  if (outage_ == Outage::failing) return Error{Errc::media, EIO, {}};
  if (outage_ == Outage::read_only && kind != FakeOperation::Kind::read) return Error{Errc::media, EIO, {}};
  return std::nullopt;
}

std::optional<FakeDisk::Hit> FakeDisk::first_hit(ByteRange range, FakeOperation::Kind kind) const {
  std::optional<Hit> first;
  for (const auto& [id, fault] : faults_) {
    if (!applies(fault.rule.on, kind)) continue;
    if (fault.rule.lasts == FaultRule::Lasts::times && fault.remaining == 0) continue;
    std::uint64_t sector = std::max(range.begin, fault.rule.range.begin).value() / kSectorSize;
    const std::uint64_t end = std::min(range.end, fault.rule.range.end).value() / kSectorSize;
    while (sector < end && fault.cured.contains(sector)) ++sector;
    if (sector < end && (!first || sector < first->sector)) first = Hit{id, sector};
  }
  return first;
}

Error FakeDisk::spend(const Hit& hit) {
  ActiveFault& fault = faults_.at(hit.id);
  if (fault.rule.lasts == FaultRule::Lasts::times) --fault.remaining;
  ++hits_[hit.id];
  ++counters_.failures;
  return fault.rule.error;
}

void FakeDisk::cure(ByteRange range) {
  for (auto& [id, fault] : faults_) {
    if (fault.rule.lasts != FaultRule::Lasts::until_written) continue;
    const std::uint64_t end = std::min(range.end, fault.rule.range.end).value() / kSectorSize;
    for (auto s = std::max(range.begin, fault.rule.range.begin).value() / kSectorSize; s < end; ++s) {
      fault.cured.insert(s);
    }
  }
}

void FakeDisk::reallocate(std::uint64_t sector) {
  const ByteRange range{ByteOffset(sector * kSectorSize), ByteOffset((sector + 1) * kSectorSize)};
  std::array<std::byte, kSectorSize> junk;
  junk.fill(kScribble);
  medium_.write(range.begin, junk);
  cure(range);
}

Result<void> FakeDisk::read_exact(ByteOffset offset, std::span<std::byte> buffer) {
  const ByteRange range = range_at(offset, buffer.size());
  check(range);
  if (geometry_.direct) {
    REMAPFS_INVARIANT(is_aligned(reinterpret_cast<std::uintptr_t>(buffer.data()), geometry_.memory_alignment));
  }
  const FakeOperation operation{FakeOperation::Kind::read, range};
  run_hook(before(), operation);
  {
    const MutexLock lock(mutex_);
    ++counters_.reads;
    std::optional<Error> error = refuse(operation.kind);
    if (error) {
      ++counters_.failures;
    } else if (const auto hit = first_hit(range, operation.kind)) {
      error = spend(*hit);
    }
    if (error) {
      std::fill(buffer.begin(), buffer.end(), kScribble);
      return fail(*error);
    }
    medium_.read(offset, buffer);
    counters_.bytes_read += buffer.size();
  }
  run_hook(after(), operation);
  return {};
}

// Everything that changes contents: apply() puts the new bytes of a part of the range into the medium.
Result<void> FakeDisk::change(ByteRange range, std::uint64_t FakeDiskCounters::*counter, const Apply& apply) {
  check(range);
  const FakeOperation operation{FakeOperation::Kind::write, range};
  run_hook(before(), operation);
  {
    const MutexLock lock(mutex_);
    ++(counters_.*counter);
    if (const auto error = refuse(operation.kind)) {
      ++counters_.failures;
      return fail(*error);
    }
    const auto hit = first_hit(range, operation.kind);
    const ByteRange written{range.begin,
                            hit ? std::max(range.begin, ByteOffset(hit->sector * kSectorSize)) : range.end};
    apply(medium_, written);
    cure(written);
    if (hit) {
      if (faults_.at(hit->id).rule.lasts == FaultRule::Lasts::until_written) reallocate(hit->sector);
      return fail(spend(*hit));
    }
    if (until_power_cut_ > 0 && --until_power_cut_ == 0) {
      power_off_ = true;
      ++counters_.failures;
      return fail(Errc::device_gone, ENODEV);
    }
    counters_.bytes_written += range.size().value();
  }
  run_hook(after(), operation);
  return {};
}

Result<void> FakeDisk::write_all(ByteOffset offset, std::span<const std::byte> data) {
  if (geometry_.direct) {
    REMAPFS_INVARIANT(is_aligned(reinterpret_cast<std::uintptr_t>(data.data()), geometry_.memory_alignment));
  }
  return change(range_at(offset, data.size()), &FakeDiskCounters::writes, [&](SimulatedMedium& medium, ByteRange part) {
    medium.write(offset, data.first(part.size().value()));
  });
}

Result<void> FakeDisk::zero_range(ByteRange range) {
  return change(range, &FakeDiskCounters::zeroes, [](SimulatedMedium& medium, ByteRange part) { medium.zero(part); });
}

Result<void> FakeDisk::punch_hole(ByteRange range) {
  if (!geometry_.punches_cheaply) return fail(Errc::unsupported, EOPNOTSUPP);
  return change(range, &FakeDiskCounters::punches, [](SimulatedMedium& medium, ByteRange part) { medium.punch(part); });
}

Result<void> FakeDisk::sync() {
  const FakeOperation operation{FakeOperation::Kind::sync, {}};
  run_hook(before(), operation);
  {
    const MutexLock lock(mutex_);
    ++counters_.syncs;
    std::optional<Error> error = refuse(operation.kind);
    if (!error && failing_syncs_ > 0) {
      if (failing_syncs_ != kAlways) --failing_syncs_;
      error = sync_error_;
    }
    if (!error && until_power_cut_ > 0 && --until_power_cut_ == 0) {
      power_off_ = true;
      error = Error{Errc::device_gone, ENODEV, {}};
    }
    if (error) {
      ++counters_.failures;
      medium_.doubt_unsynced();
      return fail(*error);
    }
    medium_.sync();
  }
  run_hook(after(), operation);
  return {};
}

Result<ByteOffset> FakeDisk::seek_data(ByteOffset from) {
  auto found = [&]() -> Result<ByteOffset> {
    const MutexLock lock(mutex_);
    if (power_off_ || outage_ == Outage::gone) return fail(Errc::device_gone, ENODEV);
    if (from.value() >= geometry_.size.value()) return fail(Errc::not_found, ENXIO);
    if (!geometry_.punches_cheaply) return from;
    if (const auto data = medium_.next_data(from)) return *data;
    return fail(Errc::not_found, ENXIO);
  }();
  run_hook(after(), {FakeOperation::Kind::seek, {}});
  return found;
}

Result<ByteOffset> FakeDisk::seek_hole(ByteOffset from) {
  auto found = [&]() -> Result<ByteOffset> {
    const MutexLock lock(mutex_);
    if (power_off_ || outage_ == Outage::gone) return fail(Errc::device_gone, ENODEV);
    const ByteOffset end(geometry_.size.value());
    if (from >= end || !geometry_.punches_cheaply) return end;
    return medium_.next_hole(from).value_or(end);
  }();
  run_hook(after(), {FakeOperation::Kind::seek, {}});
  return found;
}

void FakeDisk::drop_cache(ByteRange range) {
  REMAPFS_INVARIANT(range.begin <= range.end);
  const MutexLock lock(mutex_);
  ++counters_.cache_drops;
}

Result<void> FakeDisk::reopen() {
  const MutexLock lock(mutex_);
  ++counters_.reopens;
  if (power_off_ || outage_ == Outage::gone) return fail(Errc::device_gone, ENODEV);
  if (replaced_) return fail(Errc::foreign, name_ + ": another device is there now, connect the right one");
  return {};
}

FaultId FakeDisk::add_fault(const FaultRule& rule) {
  REMAPFS_INVARIANT(!rule.range.empty() && is_aligned(rule.range.begin.value(), kSectorSize) &&
                    is_aligned(rule.range.end.value(), kSectorSize));
  const MutexLock lock(mutex_);
  const FaultId id = next_fault_++;
  faults_.emplace(id, ActiveFault{rule, rule.times, {}});
  hits_[id] = 0;
  return id;
}

FaultId FakeDisk::add_bad_sectors(std::uint64_t first_sector, std::uint64_t count, FaultRule::On on) {
  FaultRule rule;
  rule.range = {ByteOffset(first_sector * kSectorSize), ByteOffset((first_sector + count) * kSectorSize)};
  rule.on = on;
  return add_fault(rule);
}

void FakeDisk::remove_fault(FaultId id) {
  const MutexLock lock(mutex_);
  faults_.erase(id);
}

void FakeDisk::clear_faults() {
  const MutexLock lock(mutex_);
  faults_.clear();
}

std::uint64_t FakeDisk::fault_hits(FaultId id) const {
  const MutexLock lock(mutex_);
  return hits_.at(id);
}

void FakeDisk::set_outage(Outage outage) {
  const MutexLock lock(mutex_);
  outage_ = outage;
}

Outage FakeDisk::outage() const {
  const MutexLock lock(mutex_);
  return outage_;
}

void FakeDisk::fail_syncs(std::uint64_t times, Error error) {
  const MutexLock lock(mutex_);
  failing_syncs_ = times;
  sync_error_ = std::move(error);
}

void FakeDisk::fail_nth(std::uint64_t n, Error error) {
  const MutexLock lock(mutex_);
  until_nth_ = n;
  nth_error_ = std::move(error);
  nth_failed_ = false;
}

bool FakeDisk::nth_failed() const {
  const MutexLock lock(mutex_);
  return nth_failed_;
}

void FakeDisk::cut_power_after(std::uint64_t n) {
  const MutexLock lock(mutex_);
  until_power_cut_ = n;
}

bool FakeDisk::power_is_off() const {
  const MutexLock lock(mutex_);
  return power_off_;
}

void FakeDisk::set_replaced(bool replaced) {
  const MutexLock lock(mutex_);
  replaced_ = replaced;
}

void FakeDisk::set_before(Hook hook) {
  auto shared = std::make_shared<const Hook>(std::move(hook));
  const MutexLock lock(mutex_);
  before_ = std::move(shared);
}

void FakeDisk::set_after(Hook hook) {
  auto shared = std::make_shared<const Hook>(std::move(hook));
  const MutexLock lock(mutex_);
  after_ = std::move(shared);
}

void FakeDisk::crash(std::uint64_t seed) {
  const MutexLock lock(mutex_);
  medium_.crash(seed);
  power_off_ = false;
  until_power_cut_ = 0;
}

void FakeDisk::crash_all_lost() {
  const MutexLock lock(mutex_);
  medium_.crash_all_lost();
  power_off_ = false;
  until_power_cut_ = 0;
}

std::uint64_t FakeDisk::unsynced_sectors() const {
  const MutexLock lock(mutex_);
  return medium_.unsynced_sectors();
}

void FakeDisk::peek(ByteOffset offset, std::span<std::byte> out) const {
  REMAPFS_INVARIANT(offset.value() + out.size() <= geometry_.size.value());
  const MutexLock lock(mutex_);
  medium_.read(offset, out);
}

std::vector<std::byte> FakeDisk::peek(ByteRange range) const {
  std::vector<std::byte> out(range.size().value());
  peek(range.begin, out);
  return out;
}

void FakeDisk::peek_durable(ByteOffset offset, std::span<std::byte> out) const {
  REMAPFS_INVARIANT(offset.value() + out.size() <= geometry_.size.value());
  const MutexLock lock(mutex_);
  medium_.read_durable(offset, out);
}

std::vector<std::byte> FakeDisk::peek_durable(ByteRange range) const {
  std::vector<std::byte> out(range.size().value());
  peek_durable(range.begin, out);
  return out;
}

void FakeDisk::poke(ByteOffset offset, std::span<const std::byte> data) {
  REMAPFS_INVARIANT(offset.value() + data.size() <= geometry_.size.value());
  const MutexLock lock(mutex_);
  medium_.poke(offset, data);
}

FakeDiskCounters FakeDisk::counters() const {
  const MutexLock lock(mutex_);
  return counters_;
}

void FakeDisk::reset_counters() {
  const MutexLock lock(mutex_);
  counters_ = {};
}

std::uint64_t FakeDisk::operations() const {
  const MutexLock lock(mutex_);
  return operations_;
}

}  // namespace remapfs::testing
