// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "volume/impl.hpp"

// Changes to entries: gathered in a Batch under the hold of their blocks, made durable in one commit, then visible.

namespace remapfs {

namespace {
// Each time one batch more finds out what is wrong with its spare, and leaves.
constexpr unsigned kMostFailuresForOthers = 10;
// Of the distance by which slots are passed over once several in a row have failed.
constexpr unsigned kMostDoublings = 30;

bool contains(const std::vector<SlotAddress>& slots, SlotAddress slot) {
  return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

// The slot that the change takes, if it takes a new one.
std::optional<SlotAddress> new_slot(const Batch::Entry& entry) {
  if (entry.slot_content.empty()) return std::nullopt;
  return entry.change.row.where;
}
}  // namespace

bool Batch::needs(SpareId spare) const {
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    const MapChange& change = entry.change;
    return (change.row.state == EntryState::remapped && change.row.where.spare == spare) ||
           (change.vacated && change.vacated->spare == spare);
  });
}

Result<HeldBlock> Volume::Impl::look_up(BlockIndex block, bool suspended_too) {
  HeldBlock held;
  held.block = block;
  held.mapping = table->find(block);
  held.valid = held.mapping ? held.mapping->valid_mask : geometry.full_mask();
  if (held.mapping && held.mapping->state == EntryState::poisoned) return fail(why_poisoned(block));
  held.member = member(held.has_slot() ? held.mapping->where.spare : SpareId{0});
  if (held.member->missing()) return fail(Errc::device_gone);
  if (held.member->breaker_open() && !suspended_too) return fail(Errc::suspended);
  held.place = {&held.member->device(), held.has_slot() ? slot_offset(held.mapping->where) : geometry.begin_of(block),
                held.has_slot() ? geometry.block_size() : bytes_of(block), bytes_of(block)};
  return held;
}

ByteOffset Volume::Impl::slot_offset(SlotAddress where) const {
  return member(where.spare)->first_slot + (where.slot.value() << geometry.shift());
}

Result<SlotAddress> Volume::Impl::write_slot(std::span<const std::byte> content, std::span<std::byte> aside,
                                             Batch& batch, const Deadline* until) {
  if (map_failed()) return fail(Errc::failed);
  // A device whose sync failed may have lost what was acknowledged: nothing is built on it. The sync may have failed
  // just now because the device went away: whoever sees that first says so.
  const auto why_not = [&](Member& failed) {
    return is_broken(failed, Error{Errc::failed, 0, {}}, aside) ? Errc::suspended : Errc::failed;
  };
  if (member(0)->sync_failed()) return fail(why_not(*member(0)));
  Errc reason = Errc::no_space;
  const unsigned last = highest_member.load(std::memory_order_acquire);
  for (unsigned id = 1; id <= last; ++id) {
    Member* const one = member(static_cast<SpareId>(id));
    if (one == nullptr || one->missing() || one->retiring()) continue;
    Member& spare = *one;
    if (spare.sync_failed() || spare.behind()) {
      reason = why_not(spare);
      continue;
    }
    for (unsigned failed = 0; !spare.breaker_open(); ++failed) {
      const auto slot = spare.slots->try_allocate();
      if (!slot) break;
      const SlotAddress where{spare.id(), *slot};
      const ByteOffset at = slot_offset(where);
      const auto written = spare.device().write_all(at, content);
      if (written) {
        spare.device().note_write();
        return where;
      }
      // That it worked a moment ago speaks for one bad slot: it may be dying right now.
      if (failed != 0) spare.forget_probe(true);
      if (!confirm_media(spare, written.error(), true, {at, at + geometry.block_size()}, aside)) {
        spare.slots->release(*slot);
        reason = spare.breaker_open() ? Errc::suspended : written.error().code;
        break;
      }
      spare.slots->retire(*slot);
      batch.retired.push_back(where);
      // Its neighbours may lie in the same bad zone, and take as long to fail.
      if (failed > 1) spare.slots->skip(std::uint64_t{1} << std::min(failed, kMostDoublings));
      if (until != nullptr && until->passed()) return fail(Errc::deadline);
    }
    if (spare.breaker_open()) reason = Errc::suspended;
  }
  return fail(reason);
}

std::span<const std::byte> Volume::Impl::block_content(const HeldBlock& held, SectorMask valid,
                                                       std::span<std::byte> buffer) const {
  const SectorMask inside = BlockGeometry::mask_of(0, held.place.used / kSectorSize);
  for_each_group(geometry.full_mask() & ~(valid & inside), [&](unsigned first, unsigned last) {
    std::memset(buffer.data() + first * kSectorSize, 0, (last - first) * kSectorSize);
  });
  return buffer;
}

Result<void> Volume::Impl::stage_relocation(const HeldBlock& held, SectorMask good, std::span<std::byte> buffer,
                                            std::span<std::byte> aside, const Deadline& deadline,
                                            const Deadline* slots_until, Cause cause, Batch& batch) {
  const SectorReading rest = read_sectors(held.place, held.valid & ~good, buffer, deadline);
  if (rest.fatal) return confirm_media(*held.member, *rest.fatal, false, held.on_device(), aside);
  if (rest.deadline_passed) return fail(Errc::deadline);
  const SectorMask bad = rest.bad & held.valid & ~good;
  if (bad != 0) {
    if (auto media = confirm_lost(held, *rest.media, aside); !media) return media;
  }
  const SectorMask valid = held.valid & ~bad;
  auto where = write_slot(block_content(held, valid, buffer), aside, batch, slots_until);
  if (!where) return fail(std::move(where).error());
  stage_new_slot(held, *where, valid, buffer, cause, batch);
  return {};
}

void Volume::Impl::stage_new_slot(const HeldBlock& held, SlotAddress where, SectorMask valid,
                                  std::span<const std::byte> content, Cause cause, Batch& batch) {
  Batch::Entry entry;
  entry.slot_content = content;
  entry.change.block = held.block;
  const bool by_error = cause != Cause::operator_add && cause != Cause::rewritten && cause != Cause::spare_retired;
  entry.change.row = {held.block, EntryState::remapped, where, valid, valid, Sequence(), cause, by_error ? 1U : 0U};
  if (held.has_slot()) {
    entry.change.vacated = held.mapping->where;
    // A slot that failed or came back only after retries is no place for anybody else's data.
    if (cause == Cause::slot_error || cause == Cause::weak_read) batch.retired.push_back(held.mapping->where);
  }
  std::string detail = fmt::format("{}, to slot {} of spare {}", to_string(cause), where.slot.value(), where.spare);
  if (const auto lost = invalid_sectors(held.block, valid); lost != 0) detail += fmt::format(", {} sectors lost", lost);
  batch.events.push_back({"relocated", held.block, std::move(detail)});
  batch.entries.push_back(entry);
  if (auto low = low_on_slots()) batch.events.push_back(std::move(*low));
}

std::optional<Cause> Volume::Impl::ruin_of(const HeldBlock& held) {
  if (!held.mapping || held.has_slot()) return std::nullopt;
  const auto row = commits.find_row(held.block);
  // When the store cannot say, it may have been.
  if (!row) return Cause::write_error;
  return *row && (*row)->ruined() ? std::optional((*row)->cause) : std::nullopt;
}

void Volume::Impl::stage_ruined(const HeldBlock& held, SectorMask ruined, Batch& batch) {
  stage_lost(held, ruined, held.has_slot() ? Cause::slot_error : Cause::write_error, batch);
  if (held.has_slot()) batch.entries.back().change.row.written_mask &= ~ruined;
}

void Volume::Impl::stage_lost(const HeldBlock& held, SectorMask bad, Cause cause, Batch& batch) {
  if (const auto ruin = ruin_of(held)) {
    cause = *ruin;
  } else if (!held.has_slot() && lost_for_good) {
    cause = Cause::replaced;
  }
  Batch::Entry entry;
  entry.change.block = held.block;
  RemapRow& row = entry.change.row;
  row = {held.block, EntryState::lost,
         {},         held.valid & ~bad,
         0,          Sequence(),
         cause,      cause == Cause::operator_mark ? 0 : static_cast<std::uint64_t>(std::popcount(bad))};
  if (held.has_slot()) {
    row.state = EntryState::remapped;
    row.where = held.mapping->where;
    row.written_mask = written_mask(held);
  }
  batch.events.push_back(
      {"lost", held.block, fmt::format("{}, sectors 0x{:x} of the block cannot be read", to_string(cause), bad)});
  batch.entries.push_back(entry);
}

void Volume::Impl::stage_revived(const HeldBlock& held, SectorMask sectors, Cause cause, Batch& batch) {
  Batch::Entry entry;
  entry.change.block = held.block;
  RemapRow& row = entry.change.row;
  row = {held.block, held.mapping->state, held.mapping->where, held.valid | sectors, 0, Sequence(), cause, 0};
  if (held.has_slot()) row.written_mask = written_mask(held) | sectors;
  // Without a slot the entry was about the lost sectors only.
  if (!held.has_slot() && row.valid_mask == geometry.full_mask()) entry.change.kind = MapChange::Kind::erase;
  batch.events.push_back({"revived", held.block, fmt::format("{}, sectors 0x{:x}", to_string(cause), sectors)});
  batch.entries.push_back(entry);
}

SectorMask Volume::Impl::written_mask(const HeldBlock& held) {
  // Not kept in memory: it is asked for only when a slot's sectors die or revive. When the store cannot say, only what
  // is valid is known to have been written.
  const auto row = commits.find_row(held.block);
  return row && *row ? (*row)->written_mask : held.valid;
}

void Volume::Impl::stage_weak(const HeldBlock& held, Batch& batch) {
  if (held.mapping) return;  // its entry says more already
  Batch::Entry entry;
  entry.change.block = held.block;
  entry.change.row = {held.block, EntryState::weak, {}, geometry.full_mask(), 0, Sequence(), Cause::weak_read, 1};
  batch.events.push_back({"weak", held.block, "readable only after retries, and not relocated"});
  batch.entries.push_back(entry);
}

Result<void> Volume::Impl::settle(Batch& batch, std::span<std::byte> aside) {
  if (batch.empty()) return {};
  if (auto room = table->reserve(batch.entries.size()); !room) {
    give_back_slots(batch);
    return room;
  }
  for (unsigned failed_for_others = 0;;) {
    MapTransaction transaction;
    for (const Batch::Entry& entry : batch.entries) transaction.changes.push_back(entry.change);
    transaction.retired_slots = batch.retired;
    transaction.events = batch.events;
    const auto committed = commits.commit(std::move(transaction));
    if (committed) {
      publish(batch, *committed);
      return {};
    }

    const CommitFailure& failure = committed.error();
    if (!failure.unfinished.empty()) return leave_unfinished(batch, failure, aside);
    const auto broken = [&] { return failure.spare && is_broken(*member(*failure.spare), failure.error, aside); };
    if (failure.sync_failed) {
      // First the breaker: whoever hears of the failure asks for it.
      static_cast<void>(broken());
      sync_failed_on(*member(*failure.sync_failed), failure.error);
    }
    if (failure.error.code == Errc::commit_unknown) {
      // Some of it may be durable: the slots are not used again and the blocks answer nothing until remount.
      poison(batch);
      tell_map_failed();
      return fail(Errc::failed);
    }
    if (!failure.bad_slots.empty()) {
      // Another batch of the same group may be the one with the bad slot: then this one just goes again.
      auto replaced = replace_bad_slots(batch, failure.bad_slots, aside);
      if (replaced) continue;
      table->unreserve(batch.entries.size());
      give_back_slots(batch);
      return replaced;
    }
    // Another batch of the same group may be the one that needs it: as above.
    const bool for_others = failure.spare && !failure.sync_failed && !batch.needs(*failure.spare);
    if (for_others && ++failed_for_others < kMostFailuresForOthers) continue;
    table->unreserve(batch.entries.size());
    give_back_slots(batch);
    if (broken()) return fail(Errc::suspended);
    if (failure.sync_failed || failure.error.code == Errc::suspended) return fail(Errc::failed);
    tell({"commit-failed", std::nullopt, describe(failure.error)});
    return fail(failure.error);
  }
}

Result<void> Volume::Impl::replace_bad_slots(Batch& batch, const std::vector<SlotAddress>& bad,
                                             std::span<std::byte> aside) {
  for (Batch::Entry& entry : batch.entries) {
    const auto slot = new_slot(entry);
    if (!slot) {
      // A tag that must change with its row cannot be written: the row cannot change either.
      const bool touches = entry.change.row.state == EntryState::remapped && contains(bad, entry.change.row.where);
      if (touches) return fail(Errc::media);
      continue;
    }
    if (!contains(bad, *slot)) continue;
    member(slot->spare)->slots->retire(slot->slot);
    batch.retired.push_back(*slot);
    auto other = write_slot(entry.slot_content, aside, batch);
    if (!other) return fail(std::move(other).error());
    entry.change.row.where = *other;
  }
  return {};
}

void Volume::Impl::give_back_slots(Batch& batch) {
  for (Batch::Entry& entry : batch.entries) {
    const auto slot = new_slot(entry);
    if (slot) member(slot->spare)->slots->release(slot->slot);
    entry.slot_content = {};
  }
}

void Volume::Impl::poison(const Batch& batch) {
  for (const Batch::Entry& entry : batch.entries) {
    publish(entry.change.block, Mapping{EntryState::poisoned, {}, 0});
  }
}

void Volume::Impl::tell_map_failed() {
  if (map_failure_told.exchange(true)) return;
  tell({"commit-unknown", std::nullopt,
        "a commit of the map failed with its outcome unknown: the map is written no more until remount"});
}

void Volume::Impl::publish(const Batch& batch, const CommitReport& report) {
  for (const Batch::Entry& entry : batch.entries) {
    const MapChange& change = entry.change;
    if (change.kind == MapChange::Kind::erase) {
      table->unreserve(1);
      publish(change.block, std::nullopt);
    } else {
      publish(change.block, change.row.mapping());
    }
    if (!entry.slot_content.empty()) remembered.relocations.fetch_add(1, std::memory_order_relaxed);
    if (!change.vacated) continue;
    // The block is held and its readers are drained: nobody can see the slot's old meaning any more.
    SlotAllocator& slots = *member(change.vacated->spare)->slots;
    if (contains(batch.retired, *change.vacated) || contains(report.uncleared, *change.vacated)) {
      slots.retire(change.vacated->slot);
    } else {
      slots.release(change.vacated->slot);
    }
  }
  for (const SlotAddress slot : report.retired) member(slot.spare)->slots->retire(slot.slot);
  for (const Event& event : batch.events) tell(event);
}

void Volume::Impl::publish(BlockIndex block, const std::optional<Mapping>& mapping) {
  if (const auto old = table->find(block)) count_entry(block, *old, false);
  if (mapping) {
    table->assign(block, *mapping);
    count_entry(block, *mapping, true);
  } else {
    table->erase(block);
  }
  // More of it may count on the primary now than whoever copied it has seen.
  DirtyMap* const copied = copied_from.load(std::memory_order_acquire);
  const bool in_slot = mapping && mapping->state == EntryState::remapped;
  if (copied != nullptr && !in_slot) copied->mark({geometry.begin_of(block), geometry.end_of(block)});
}

void Volume::Impl::tell(const Event& event) const {
  if (options.on_event) options.on_event(event);
}

Result<void> Volume::Impl::record(Event event) {
  tell(event);
  if (options.read_only) return {};
  MapTransaction transaction;
  transaction.events.push_back(std::move(event));
  auto committed = commits.commit(std::move(transaction));
  if (committed) return {};
  return fail(committed.error().error);
}

}  // namespace remapfs
