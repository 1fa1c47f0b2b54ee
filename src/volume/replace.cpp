// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "volume/impl.hpp"

// Another primary, while the volume is in use. How this could lose data, and what prevents it:
//
// - A write comes after its place was copied. Every change of the primary is marked once it was made, inside the gate,
// by
//   MemberDevice, through which all of them go; so is every entry that makes more of the primary count. What is marked
//   is copied again; the last of it with every block held, when nothing can change.
// - A write was under way before marking began. Everybody inside is drained before the first copy.
// - The new device gets what the old one could not read. Sectors that are not valid are never served; rows that say so
//   stay, and say `replaced`, so that a retest does not take what the new device has there for their data.
// - A crash comes in between. The map has the old device until the new one has everything, durably; then it has the new
//   one. When nobody knows which of the two it has, the old device is written no more: then both have everything.
// - The old device has lost writes that nobody was told of. It is not replaced before somebody was.

namespace remapfs {

namespace {

// What may be left for the moment in which requests wait.
constexpr std::uint64_t kLeastLastStep = std::uint64_t{4} << 20U;
constexpr std::chrono::seconds kLastStep{1};
constexpr std::chrono::seconds kDrainTime{2};
constexpr std::chrono::seconds kLongestStep{1};
constexpr std::size_t kRowsAtOnce = 4096;

bool passes(const Error& error) {
  return error.code == Errc::suspended || error.code == Errc::device_gone || error.code == Errc::busy ||
         error.code == Errc::deadline;
}

}  // namespace

class Volume::Impl::Replacement {
 public:
  Replacement(Impl& volume, NewPrimary& next)
      : volume_(volume), old_(volume.share(0)), next_(next), dirty_(*volume.dirty) {}

  Result<void> run(const CopyPace& pace);

 private:
  Result<void> copy_and_switch(const CopyPace& pace);
  enum class Copied : std::uint8_t { yes, needs_care };

  // The first byte that was not copied, for lack of time; what is behind it is dirty again, and so is all after an
  // error.
  Result<ByteOffset> copy_stretch(ByteRange range);
  Result<Copied> copy_fast(ByteRange range, ByteRange& careful);
  Result<void> copy_with_care(BlockIndex block);
  Result<void> copy_valid(const HeldBlock& held, std::span<std::byte> buffer);
  Result<void> write(ByteOffset at, std::span<const std::byte> data);
  [[nodiscard]] bool little_is_left() const;
  // With every block held: true when it was done, false when some of it needs care, which this cannot give.
  Result<bool> try_to_switch();
  Result<bool> copy_rest(std::span<std::byte> buffer);
  Result<bool> copy_held(ByteRange range, std::span<std::byte> buffer);
  Result<void> mark_rows(std::span<std::byte> aside);
  Result<void> commit();
  void take_over();
  void forget_changes() {
    old_->device().mark_changes_in(nullptr);
    volume_.copied_from = nullptr;
  }

  Impl& volume_;
  const std::shared_ptr<Member> old_;
  NewPrimary& next_;
  DirtyMap& dirty_;
  bool new_device_failed_ = false;  // it ends the replacement, whatever the error is
  bool needs_care_ = false;         // some of this pass could not be copied
  std::uint64_t copied_ = 0;
  std::chrono::nanoseconds took_{0};
};

// --- copying ---

Result<void> Volume::Impl::Replacement::write(ByteOffset at, std::span<const std::byte> data) {
  auto written = next_.device->write_all(at, data);
  if (written) return {};
  new_device_failed_ = true;
  return fail(written.error().code,
              fmt::format("the new device cannot be written, {}, byte {} ({}), use another one", next_.record.path,
                          at.value(), describe(written.error())),
              written.error().os_errno);
}

// From where the table says that the data is on the primary. careful: the first blocks that are not simply to be read.
Result<Volume::Impl::Replacement::Copied> Volume::Impl::Replacement::copy_fast(ByteRange range, ByteRange& careful) {
  const auto scratch = volume_.scratches->take();
  while (!range.empty()) {
    std::optional<Run> run;
    volume_.table->for_each_run(range, [&](const Run& first) {
      run = first;
      return false;
    });
    range.begin = run->range.end;
    if (run->kind == RunKind::slot) continue;
    careful = run->range;
    if (run->kind == RunKind::attention) return Copied::needs_care;
    const auto bytes = scratch.main().first(run->range.size().value());
    if (!old_->device().read_exact(run->range.begin, bytes)) return Copied::needs_care;
    if (auto written = write(run->range.begin, bytes); !written) return fail(std::move(written).error());
  }
  return Copied::yes;
}

Result<void> Volume::Impl::Replacement::copy_valid(const HeldBlock& held, std::span<std::byte> buffer) {
  const auto content = volume_.block_content(held, held.valid, buffer).first(held.place.used);
  return write(volume_.geometry.begin_of(held.block), content);
}

Result<void> Volume::Impl::Replacement::copy_with_care(BlockIndex block) {
  auto copied = volume_.with_block(
      block,
      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
          Batch& batch) -> Result<Outcome> {
        if (held.has_slot() || held.valid == 0) return Outcome::already;
        const auto buffer = scratch.main().first(volume_.geometry.block_size());
        const auto reading = volume_.read_valid(held, held.valid, buffer, scratch.aside(), deadline, batch);
        // What is left of it counts once the row says so, which marks it.
        if (!reading && reading.error().code == Errc::lost) return Outcome::still_bad;
        if (!reading) return fail(reading.error());
        if (auto done = copy_valid(held, buffer); !done) return fail(std::move(done).error());
        if (reading->retried && !held.mapping) {
          std::ignore = volume_.move_weak(held, *reading, buffer, scratch.aside(), deadline, batch);
        }
        return Outcome::done;
      });
  if (copied) return {};
  return fail(std::move(copied).error());
}

Result<ByteOffset> Volume::Impl::Replacement::copy_stretch(ByteRange range) {
  const auto begun = std::chrono::steady_clock::now();
  const ByteOffset begin = range.begin;
  Result<void> done;
  while (done && !range.empty()) {
    ByteRange careful;
    auto copied = copy_fast(range, careful);
    if (copied && *copied == Copied::yes) break;
    if (!copied) done = fail(std::move(copied).error());
    const BlockRange blocks = volume_.geometry.blocks_touching(careful);
    for (BlockIndex block = blocks.begin; done && block < blocks.end; ++block) {
      done = copy_with_care(block);
      range.begin = std::min(careful.end, volume_.geometry.end_of(block));
      // On a disk that fails slowly each block may take as long as a request may.
      if (std::chrono::steady_clock::now() - begun < kLongestStep || range.empty()) continue;
      dirty_.mark(range);
      return range.begin;
    }
  }
  if (!done) {
    // Nothing is lost by copying some of it again.
    dirty_.mark({begin, range.end});
    return fail(std::move(done).error());
  }
  copied_ += distance(begin, range.end).value();
  took_ += std::chrono::steady_clock::now() - begun;
  return range.end;
}

// --- the last step ---

bool Volume::Impl::Replacement::little_is_left() const {
  const double seconds = std::chrono::duration<double>(took_).count();
  const double speed = seconds > 0 ? static_cast<double>(copied_) / seconds : 0;
  const double limit = std::max(static_cast<double>(kLeastLastStep), speed * static_cast<double>(kLastStep.count()));
  return static_cast<double>(dirty_.left().value()) <= limit;
}

Result<bool> Volume::Impl::Replacement::copy_held(ByteRange range, std::span<std::byte> buffer) {
  while (!range.empty()) {
    std::optional<Run> run;
    volume_.table->for_each_run(range, [&](const Run& first) {
      run = first;
      return false;
    });
    range.begin = run->range.end;
    if (run->kind == RunKind::slot) continue;
    if (run->kind == RunKind::primary) {
      const auto bytes = buffer.first(run->range.size().value());
      if (!old_->device().read_exact(run->range.begin, bytes)) return false;
      if (auto written = write(run->range.begin, bytes); !written) return fail(std::move(written).error());
      continue;
    }
    const BlockRange blocks = volume_.geometry.blocks_touching(run->range);
    for (BlockIndex block = blocks.begin; block < blocks.end; ++block) {
      const auto held = volume_.look_up(block);
      if (!held) return fail(held.error());
      if (held->has_slot() || held->valid == 0) continue;
      const auto content = buffer.first(volume_.geometry.block_size());
      const SectorReading reading = read_sectors(held->place, held->valid, content, Deadline(kDrainTime));
      if (reading.fatal || reading.deadline_passed || (reading.bad & held->valid) != 0) return false;
      if (auto copied = copy_valid(*held, content); !copied) return fail(std::move(copied).error());
    }
  }
  return true;
}

Result<bool> Volume::Impl::Replacement::copy_rest(std::span<std::byte> buffer) {
  ByteOffset from(0);
  while (const auto range = dirty_.take(from, kMaxRequestSize)) {
    auto copied = copy_held(*range, buffer);
    if (!copied || !*copied) {
      dirty_.mark(*range);
      return copied;
    }
    from = range->end;
  }
  return true;
}

// Weak blocks were read, and are whole where they are going; of lost ones, what was not read is not there.
Result<void> Volume::Impl::Replacement::mark_rows(std::span<std::byte> aside) {
  Batch batch;
  const BlockIndex end(volume_.block_count);
  BlockIndex from(0);
  while (const auto block = volume_.table->next_entry(from, end)) {
    from = *block + 1;
    const auto mapping = volume_.table->find(*block);
    if (!mapping || mapping->state == EntryState::remapped) continue;
    if (mapping->state == EntryState::poisoned) return fail(Errc::failed);
    Batch::Entry entry;
    entry.change.block = *block;
    if (mapping->state == EntryState::weak) entry.change.kind = MapChange::Kind::erase;
    entry.change.row = {*block, EntryState::lost, {}, mapping->valid_mask, 0, Sequence(), Cause::replaced, 0};
    batch.entries.push_back(entry);
    if (batch.entries.size() < kRowsAtOnce) continue;
    if (auto settled = volume_.settle(batch, aside); !settled) return settled;
    batch = {};
  }
  return volume_.settle(batch, aside);
}

Result<void> Volume::Impl::Replacement::commit() {
  MapTransaction transaction;
  transaction.primary = next_.record;
  transaction.events.push_back(
      {"primary-replaced", std::nullopt, fmt::format("{} by {}", old_->device().name(), next_.record.path)});
  const Event event = transaction.events.back();
  const auto committed = volume_.commits.commit(std::move(transaction));
  if (committed) {
    volume_.tell(event);
    return {};
  }
  const CommitFailure& failure = committed.error();
  if (failure.sync_failed) volume_.sync_failed_on(*volume_.member(*failure.sync_failed), failure.error);
  if (failure.error.code == Errc::commit_unknown) {
    // The next mount goes by the map, whichever device that has: what is written from here on could be on the other.
    old_->device().freeze();
    volume_.poison({});
    return fail(Errc::failed, fmt::format("it is not known whether the map has the new device, {} ({}), unmount and "
                                          "mount again",
                                          next_.record.path, describe(failure.error)));
  }
  return fail(failure.error);
}

void Volume::Impl::Replacement::take_over() {
  auto member = std::make_shared<Member>(SpareId{0}, std::move(next_.device));
  DeviceMemory& memory = volume_.remembered.devices[0];
  // A flush of the old one that comes to an end only now, and fails, says nothing of the new one.
  old_->device().forget_memory();
  // It is not to blame for what the other one did.
  for (auto& row : memory.failures) {
    for (auto& count : row) count = 0;
  }
  if (auto synced = member->device().remember_in(memory); !synced) std::ignore = volume_.after_sync(*member, synced);
  volume_.put_member(member);
  forget_changes();
  const MutexLock lock(volume_.members_mutex);
  volume_.known_info.primary_path = next_.record.path;
  volume_.known_info.primary_identity = next_.record.identity;
  volume_.known_stamp.clear();
}

Result<bool> Volume::Impl::Replacement::try_to_switch() {
  // Most of it before requests have to wait for it.
  const auto sync = [&]() -> Result<void> {
    auto synced = next_.device->sync();
    if (synced) return {};
    new_device_failed_ = true;
    return fail(synced.error().code,
                fmt::format("the new device cannot be synced, {} ({}), use another one", next_.record.path,
                            describe(synced.error())),
                synced.error().os_errno);
  };
  if (auto synced = sync(); !synced) return fail(std::move(synced).error());
  // What the old one has lost is not to be taken for what was written. Not later: a dying disk may take its time.
  if (auto synced = volume_.after_sync(*old_, old_->device().sync()); !synced) return fail(Errc::suspended);
  {
    const auto scratch = volume_.scratches->take();
    const auto everybody = volume_.gate.exclude(volume_.whole_disk(), Deadline(kDrainTime));
    if (!everybody) return fail(Errc::busy, "requests are still waiting for a device");
    if (old_->breaker_open()) return fail(Errc::suspended);
    if (auto trusted = check_trusted(*old_); !trusted) return fail(Errc::suspended, describe(trusted.error()));
    auto rest = copy_rest(scratch.main());
    if (!rest || !*rest) return rest;
    if (auto synced = sync(); !synced) return fail(std::move(synced).error());
    if (auto marked = mark_rows(scratch.aside()); !marked) return fail(std::move(marked).error());
    if (auto committed = commit(); !committed) return fail(std::move(committed).error());
    take_over();
  }
  // Not with everything held: it is read for a moment.
  volume_.seed_good_places(*volume_.share(0));
  return true;
}

Result<void> Volume::Impl::Replacement::run(const CopyPace& pace) {
  old_->device().mark_changes_in(&dirty_);
  volume_.copied_from = &dirty_;
  std::ignore = volume_.record(
      {"replace-started", std::nullopt, fmt::format("{} by {}", old_->device().name(), next_.record.path)});
  auto done = copy_and_switch(pace);
  if (!done) forget_changes();
  return done;
}

Result<void> Volume::Impl::Replacement::copy_and_switch(const CopyPace& pace) {
  {
    // Who was inside before changes were marked.
    const auto everybody = volume_.gate.exclude(volume_.whole_disk(), Deadline(volume_.options.request_budget));
    if (!everybody) return fail(Errc::busy, "requests are still waiting for a device, try again");
  }
  CopyProgress progress{volume_.size, dirty_.left(), false, std::nullopt};
  ByteOffset from(0);
  for (;;) {
    progress.left = std::min(dirty_.left(), volume_.size);
    const std::uint64_t step = pace(progress);
    if (step == 0) return fail(Errc::interrupted, "interrupted, the copy to the new device, start it again");
    if (volume_.map_failed()) return fail(Errc::failed, "the map is written no more, unmount and mount again");
    progress.trouble.reset();
    Result<void> done;
    const auto range = dirty_.take(from, std::min(step, kMaxRequestSize));
    if (range) {
      const auto next = copy_stretch(*range);
      from = next ? *next : range->end;
      if (!next) done = fail(next.error());
    } else {
      from = ByteOffset(0);
      progress.again = true;
    }
    if (!range && !needs_care_ && little_is_left()) {
      auto switched = try_to_switch();
      if (switched && *switched) return {};
      if (!switched) done = fail(std::move(switched).error());
    }
    if (!range) needs_care_ = false;
    if (done) continue;
    if (new_device_failed_ || !passes(done.error())) return done;
    needs_care_ = true;
    progress.trouble = done.error();
  }
}

// --- around it ---

Result<void> Volume::Impl::can_replace(const NewPrimary& next) const {
  const DeviceGeometry& device = next.device->geometry();
  if (options.read_only) return fail(Errc::read_only, "the volume is read-only, its primary, mount it for writing");
  if (device.size != size) {
    return fail(Errc::invalid, fmt::format("{} bytes are not {}, as the volume has, {}, use another device",
                                           device.size.value(), size.value(), next.record.path));
  }
  if (device.logical_block > geometry.block_size()) {
    return fail(Errc::invalid, fmt::format("its logical block of {} bytes is larger than the volume's block, {}, use "
                                           "another device",
                                           device.logical_block, next.record.path));
  }
  if (next.alone) return {};
  if (auto fits = fits_beside(device, next.record.path); !fits) return fits;
  const auto is_direct = [](const MemberDevice& one) { return one.geometry().direct && one.native_handle() >= 0; };
  const auto primary = share(0);
  if (is_direct(*next.device) || !is_direct(primary->device())) return {};
  return fail(Errc::unsupported, fmt::format("it cannot be read and written directly, as the disk is now, {}, unmount "
                                             "the volume and replace it then",
                                             next.record.path));
}

// Nobody marks any more: those who may still are waited for.
Result<void> Volume::Impl::forget_dirty() {
  const auto everybody = gate.exclude(whole_disk(), Deadline(options.request_budget));
  if (!everybody) return fail(Errc::busy, "requests are still waiting for a device, try again");
  dirty.reset();
  return {};
}

Result<void> Volume::Impl::replace_primary(NewPrimary next, const CopyPace& pace) {
  if (auto can = can_replace(next); !can) return can;
  if (replacing.exchange(true)) return fail(Errc::busy, "a replacement is under way already, this volume, wait for it");
  const auto run = [&]() -> Result<void> {
    if (auto forgotten = forget_dirty(); !forgotten) return forgotten;
    auto map = DirtyMap::create(size, geometry);
    if (!map) return fail(std::move(map).error());
    dirty = std::move(*map);
    return Replacement(*this, next).run(pace);
  };
  auto replaced = run();
  if (!replaced) std::ignore = record({"replace-ended", std::nullopt, describe(replaced.error())});
  std::ignore = forget_dirty();
  replacing = false;
  return replaced;
}

std::optional<ReturnedBlock> Volume::Impl::return_next(BlockIndex from) {
  const BlockIndex end(block_count);
  while (const auto block = table->next_entry(from, end)) {
    const auto mapping = table->find(*block);
    from = *block + 1;
    if (!mapping || mapping->state != EntryState::remapped || mapping->valid_mask != geometry.full_mask()) continue;
    return ReturnedBlock{*block, remove(*block, false)};
  }
  return std::nullopt;
}

Result<void> Volume::replace_primary(NewPrimary next, const CopyPace& pace) {
  return impl_->replace_primary(std::move(next), pace);
}
std::optional<ReturnedBlock> Volume::return_next(BlockIndex from) { return impl_->return_next(from); }

}  // namespace remapfs
