// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "volume/replacement.hpp"

// Another primary, while the volume is in use. How this could lose data, and what prevents it:
//
// - A write comes after its place was copied. Every change of the primary is marked once it was made, inside the gate,
//   by MemberDevice, through which all of them go; so is every entry that makes more of the primary count. What is
//   marked is copied again; the last of it with every block held, when nothing can change.
// - A write was under way before marking began. Everybody inside is drained before the first copy.
// - The old device has other bytes than it had when they were copied: it lost its cache. Whoever resumes it marks all.
// - The new device gets what the old one could not read. Sectors that are not valid are never served; rows that say so
//   stay, and say `replaced`, so that a retest does not take what the new device has there for their data. They say it
//   with the commit that counts, since on the old device a retest may still find their data; only where there are so
//   many of them that requests would wait for it they say it before.
// - A crash comes in between. The map has the old device until the new one has everything, durably; then it has the new
//   one. When nobody knows which of the two it has, the old device is written no more: then both have everything.
// - The old device has lost writes that nobody was told of. It is not replaced before somebody was.

namespace remapfs {

namespace {

// Requests wait for the last step. What is left for it is what was written last, here and there: how long that takes is
// known from the pass before. When it takes longer after all it is given up, and tried after another pass.
constexpr std::chrono::milliseconds kLastStep{500};
constexpr std::chrono::seconds kLongestLastStep{1};
constexpr std::uint64_t kLeastLastStep = std::uint64_t{256} << 10U;
constexpr std::chrono::seconds kDrainTime{2};

// It is tried again.
bool passes(const Error& error) {
  switch (error.code) {
    case Errc::failed:
    case Errc::store:
    case Errc::commit_unknown:
    case Errc::invalid:
    case Errc::read_only: return false;
    default: return true;
  }
}

// What the operator is told of an error that keeps the copy waiting.
Error with_words(Error error) {
  if (!error.message.empty()) return error;
  if (error.code == Errc::suspended || error.code == Errc::device_gone) {
    error.message = "the primary or a spare does not work, see remapfs status";
  } else {
    error.message = fmt::format("the primary cannot be read ({}), look at the system log", describe(error));
  }
  return error;
}

}  // namespace

// --- the last step ---

bool Volume::Impl::Replacement::little_is_left() const {
  const double seconds = std::chrono::duration<double>(took_).count();
  const double speed = seconds > 0 ? static_cast<double>(copied_) / seconds : 0;
  const double limit =
      std::max(static_cast<double>(kLeastLastStep), speed * std::chrono::duration<double>(kLastStep).count());
  return static_cast<double>(dirty_.left().value()) <= limit;
}

Result<bool> Volume::Impl::Replacement::copy_held(ByteRange range, std::span<std::byte> buffer) {
  while (!range.empty()) {
    const Run run = volume_.first_run(piece_of(range));
    range.begin = run.range.end;
    if (run.kind == RunKind::slot) continue;
    if (run.kind == RunKind::primary) {
      const auto bytes = buffer.first(run.range.size().value());
      if (!old_->device().read_exact(run.range.begin, bytes)) return false;
      if (auto written = write(run.range.begin, bytes); !written) return fail(std::move(written).error());
      continue;
    }
    const BlockRange blocks = volume_.geometry.blocks_touching(run.range);
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
  const Deadline deadline(kLongestLastStep);
  ByteOffset from(0);
  while (const auto range = dirty_.take(from, kMaxRequestSize)) {
    auto copied = deadline.passed() ? Result<bool>(false) : copy_held(*range, buffer);
    if (!copied || !*copied) {
      dirty_.mark(*range);
      return copied;
    }
    from = range->end;
  }
  return true;
}

// Of lost blocks, what was not read is not there. Weak blocks were read, and are whole where they are going.
MapChange Volume::Impl::Replacement::change_of(BlockIndex block, const Mapping& mapping) {
  MapChange change;
  change.block = block;
  if (mapping.state == EntryState::weak) change.kind = MapChange::Kind::erase;
  change.row = {block, EntryState::lost, {}, mapping.valid_mask, 0, Sequence(), Cause::replaced, 0};
  return change;
}

Error Volume::Impl::Replacement::about_poisoned(BlockIndex block) const {
  if (volume_.is_unfinished(block)) {
    return {Errc::suspended, 0, fmt::format("block {} waits for `remapfs resume`", block.value())};
  }
  return {Errc::failed, 0,
          fmt::format("block {} answers nothing until remount, unmount and mount again, then replace the primary",
                      block.value())};
}

// With the commit that counts.
Result<std::vector<MapChange>> Volume::Impl::Replacement::rows_to_change() const {
  std::vector<MapChange> changes;
  if (volume_.lost_sectors == 0 && volume_.weak_blocks == 0) return changes;
  std::optional<BlockIndex> poisoned;
  volume_.table->for_each([&](BlockIndex block, const Mapping& mapping) {
    if (mapping.state == EntryState::remapped) return;
    if (mapping.state == EntryState::poisoned) poisoned = block;
    if (!rows_marked_) changes.push_back(change_of(block, mapping));
  });
  if (poisoned) return fail(about_poisoned(*poisoned));
  return changes;
}

bool Volume::Impl::Replacement::too_many_rows() const {
  return volume_.lost_sectors + volume_.weak_blocks > volume_.options.most_rows_at_once;
}

// Before the commit that counts, some blocks at a time. Whatever is lost from now on says so at once.
Result<void> Volume::Impl::Replacement::mark_rows() {
  volume_.lost_for_good = true;
  {
    // Who was about to say otherwise.
    const auto everybody = volume_.gate.exclude(volume_.whole_disk(), Deadline(kDrainTime));
    if (!everybody) return fail(Errc::busy, "requests are still waiting for a device");
  }
  const BlockIndex end(volume_.block_count);
  BlockIndex from(0);
  while (const auto block = volume_.table->next_entry(from, end)) {
    auto next = mark_some_rows(*block);
    if (!next) return fail(std::move(next).error());
    from = *next;
  }
  rows_marked_ = true;
  return {};
}

Result<BlockIndex> Volume::Impl::Replacement::mark_some_rows(BlockIndex from) {
  const auto scratch = volume_.scratches->take(0);
  const BlockRange some{from, std::min(BlockIndex(volume_.block_count), from + kMostBlocksHeld)};
  const auto hold = volume_.gate.exclude(some, Deadline(volume_.options.request_budget));
  if (!hold) return fail(Errc::busy, "blocks are in use for too long, the primary, see what hangs");
  Batch batch;
  for (BlockIndex block = some.begin; block < some.end; ++block) {
    const auto mapping = volume_.table->find(block);
    if (!mapping || mapping->state == EntryState::remapped) continue;
    if (mapping->state == EntryState::poisoned) return fail(about_poisoned(block));
    batch.entries.push_back({change_of(block, *mapping), {}});
  }
  if (auto settled = volume_.settle(batch, scratch.aside()); !settled) return fail(std::move(settled).error());
  return some.end;
}

Result<void> Volume::Impl::Replacement::commit() {
  const auto changes = rows_to_change();
  if (!changes) return fail(changes.error());
  MapTransaction transaction;
  transaction.primary = next_.record;
  transaction.changes = *changes;
  transaction.events.push_back(
      {"primary-replaced", std::nullopt, fmt::format("{} by {}", old_->device().name(), next_.record.path)});
  const Event event = transaction.events.back();
  const auto committed = volume_.commits.commit(std::move(transaction));
  if (committed) {
    // The table knows nothing of causes.
    for (const MapChange& change : *changes) {
      if (change.kind == MapChange::Kind::erase) volume_.publish(change.block, std::nullopt);
    }
    volume_.publish(Batch{}, *committed);
    volume_.tell(event);
    return {};
  }
  const CommitFailure& failure = committed.error();
  if (failure.sync_failed) volume_.sync_failed_on(*volume_.member(*failure.sync_failed), failure.error);
  if (failure.error.code == Errc::commit_unknown) {
    // The next mount goes by the map, whichever device that has: what is written from here on could be on the other.
    old_->device().freeze();
    volume_.tell_map_failed();
    return fail(Errc::failed, fmt::format("it is not known whether the map has the new device, {} ({}), unmount and "
                                          "mount again",
                                          next_.record.path, describe(failure.error)));
  }
  return fail(failure.error);
}

void Volume::Impl::Replacement::take_over() {
  auto member = std::make_shared<Member>(SpareId{0}, std::move(next_.device));
  DeviceMemory& memory = volume_.remembered.devices[0];
  // A flush of the old one that comes only now, and fails, says nothing of the new one.
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

// Nothing is built on a device that may have lost what was acknowledged. Alone, nobody was told anything meanwhile, and
// a disk that will not even be synced is left as it is.
Result<void> Volume::Impl::Replacement::all_is_well() const {
  if (old_->breaker_open()) return fail(Errc::suspended, "the primary does not work, see remapfs status");
  if (!next_.alone) {
    if (auto trusted = check_trusted(*old_); !trusted) return fail(Errc::suspended, describe(trusted.error()));
  }
  // Every one of them is to name the new primary.
  Result<void> answer;
  volume_.for_each_spare([&](const Member& spare) {
    if (!answer) return;
    if (spare.missing() || spare.breaker_open()) {
      answer = fail(Errc::suspended, fmt::format("spare {} does not work, see remapfs status", spare.id()));
    } else if (auto trusted = check_trusted(spare); !trusted) {
      answer = fail(Errc::suspended, describe(trusted.error()));
    }
  });
  return answer;
}

Result<void> Volume::Impl::Replacement::sync_new() {
  auto synced = next_.device->sync();
  if (synced) return {};
  new_device_failed_ = true;
  return fail(synced.error().code,
              fmt::format("the new device cannot be synced, {} ({}), use another one", next_.record.path,
                          describe(synced.error())),
              synced.error().os_errno);
}

// Most of it before requests have to wait for it. Of the old one, what it has lost is not to be taken for what was
// written; not later, since a dying disk may take its time.
Result<void> Volume::Impl::Replacement::sync_both() {
  if (auto synced = sync_new(); !synced) return synced;
  if (next_.alone || !old_->device().memory().unsynced_writes) return {};
  if (volume_.after_sync(*old_, old_->device().sync())) return {};
  return fail(Errc::suspended,
              "what was written last may not be stored on the primary, run remapfs resume and flush the disk");
}

Result<bool> Volume::Impl::Replacement::try_to_switch() {
  if (auto well = all_is_well(); !well) return fail(std::move(well).error());
  if (auto synced = sync_both(); !synced) return fail(std::move(synced).error());
  if (!rows_marked_ && too_many_rows()) {
    if (auto marked = mark_rows(); !marked) return fail(std::move(marked).error());
  }
  {
    const auto scratch = volume_.scratches->take();
    const auto everybody = volume_.gate.exclude(volume_.whole_disk(), Deadline(kDrainTime));
    if (!everybody) return fail(Errc::busy, "requests are still waiting for a device");
    const auto no_syncs = old_->device().try_hold_syncs();
    if (!no_syncs) return fail(Errc::busy, "a flush of the primary is under way");
    if (auto well = all_is_well(); !well) return fail(std::move(well).error());
    auto rest = copy_rest(scratch.main());
    if (!rest || !*rest) return rest;
    if (auto synced = sync_new(); !synced) return fail(std::move(synced).error());
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
  volume_.lost_for_good = false;
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
    auto done = copy_step(from, step);
    if (done && !*done) {
      // A pass is over. The first one says nothing of how long the last step will take.
      const bool ready = progress.again && !needs_care_ && little_is_left();
      auto switched = ready ? try_to_switch() : Result<bool>(false);
      if (switched && *switched) return {};
      if (!switched) done = fail(std::move(switched).error());
      progress.again = true;
      needs_care_ = false;
      copied_ = 0;
      took_ = {};
    }
    if (done) continue;
    if (new_device_failed_ || !passes(done.error())) return fail(std::move(done).error());
    needs_care_ = true;
    progress.trouble = with_words(std::move(done).error());
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
  if (!dirty) return {};
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
    auto map = DirtyMap::create(size, geometry, options.most_dirty_granules);
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
