// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstring>

#include "volume/impl.hpp"

// The operator's verbs. Each works on one block under its hold.

namespace remapfs {

Result<void> Volume::Impl::check_block(BlockIndex block) const {
  if (options.read_only) return fail(Errc::read_only, "the volume is mounted read-only");
  if (block.value() >= block_count) {
    return fail(Errc::invalid,
                fmt::format("block {}: out of range, the volume has blocks 0 to {}", block.value(), block_count - 1));
  }
  return {};
}

Result<Outcome> Volume::Impl::add(BlockIndex block) {
  return with_block(
      block, operator_times(),
      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
          Batch& batch) -> Result<Outcome> {
        if (held.valid != geometry.full_mask()) {
          return fail(Errc::lost, fmt::format("block {}: lost, there is no data to keep: rewrite it", block.value()));
        }
        if (held.has_slot()) return Outcome::already;

        const auto buffer = scratch.main().first(geometry.block_size());
        const auto reading = read_valid(held, held.valid, buffer, scratch.aside(), deadline, batch);
        if (!reading && reading.error().code == Errc::lost) {
          return fail(Errc::lost, fmt::format("block {}: cannot be read, recorded as lost", block.value()));
        }
        if (!reading) return fail(reading.error());
        auto staged = stage_relocation(held, reading->good, buffer, scratch.aside(), deadline, &deadline,
                                       Cause::operator_add, batch);
        if (!staged) return fail(std::move(staged).error());
        return Outcome::done;
      });
}

// Slot -> primary, durable and proven by reading the medium. The entry still stands: a crash in between changes
// nothing.
Result<void> Volume::Impl::copy_back(const HeldBlock& held, const ScratchPool::Scratch& scratch,
                                     const Deadline& deadline) {
  const std::uint64_t block = held.block.value();
  Member& primary = *member(0);
  if (primary.missing()) return fail(Errc::device_gone);
  if (primary.breaker_open()) return fail(Errc::suspended);
  const auto content = scratch.main().first(geometry.block_size());
  const SectorReading reading = read_sectors(held.place, held.valid, content, deadline);
  if (reading.fatal || reading.bad != 0 || reading.deadline_passed) {
    return fail(reading.fatal ? reading.fatal->code : Errc::media,
                fmt::format("block {}: its slot cannot be read, it stays remapped", block));
  }

  const ByteOffset at = geometry.begin_of(held.block);
  const auto data = content.first(held.place.used);
  const auto check = scratch.main().subspan(kMaxBlockSize, held.place.used);
  const auto primary_failed = [&](const Error& error) {
    if (error.code == Errc::device_gone) open_breaker(primary, error);
    return fail(error.code,
                fmt::format("block {}: the primary still fails there ({}), it stays remapped", block, describe(error)),
                error.os_errno);
  };
  if (auto written = primary.device().write_all(at, data); !written) return primary_failed(written.error());
  primary.device().note_write();
  if (auto synced = after_sync(primary, primary.device().sync(), scratch.aside()); !synced)
    return primary_failed(synced.error());
  primary.device().drop_cache({at, at + held.place.used});
  if (auto read = primary.device().read_exact(at, check); !read) return primary_failed(read.error());
  if (std::memcmp(data.data(), check.data(), data.size()) != 0) {
    return fail(Errc::media,
                fmt::format("block {}: the primary returned other bytes than written, it stays remapped", block));
  }
  return {};
}

Result<Outcome> Volume::Impl::remove(BlockIndex block, bool tell_of_it) {
  return with_block(
      block, operator_times(),
      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
          Batch& batch) -> Result<Outcome> {
        if (!held.mapping) return Outcome::already;
        if (held.valid != geometry.full_mask()) {
          return fail(Errc::lost, fmt::format("block {}: has lost sectors, nothing to copy back: rewrite it or use "
                                              "clear-lost",
                                              block.value()));
        }
        Batch::Entry entry;
        entry.change.kind = MapChange::Kind::erase;
        entry.change.block = block;
        if (held.has_slot()) {
          if (auto copied = copy_back(held, scratch, deadline); !copied) return fail(std::move(copied).error());
          entry.change.vacated = held.mapping->where;
        }
        batch.entries.push_back(entry);
        if (tell_of_it) {
          batch.events.push_back({"removed", block, held.has_slot() ? "copied back to the primary and verified" : ""});
        }
        return Outcome::done;
      });
}

Result<Outcome> Volume::Impl::mark_lost(BlockIndex block) {
  return with_block(
      block, operator_times(),
      [&](const HeldBlock& held, const ScratchPool::Scratch&, const Deadline&, Batch& batch) -> Result<Outcome> {
        const SectorMask inside = geometry.full_mask() & ~outside_disk(block);
        if ((held.valid & inside) == 0) return Outcome::already;
        stage_lost(held, held.valid & inside, Cause::operator_mark, batch);
        return Outcome::done;
      });
}

Result<Outcome> Volume::Impl::retest(BlockIndex block, bool lost_only) {
  return with_block(
      block, operator_times(),
      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
          Batch& batch) -> Result<Outcome> {
        const SectorMask full = geometry.full_mask();
        if (lost_only && held.valid == full) return Outcome::already;

        // Only the place that holds the data is asked, and of it only sectors that hold this block's data if anything.
        const SectorMask lost = full & ~held.valid;
        const SectorMask written = held.has_slot() ? written_mask(held) : ruin_of(held) ? 0 : full;
        const SectorMask hopeful = lost & written;
        const SectorMask wanted = lost_only ? hopeful : hopeful | held.valid;
        const auto buffer = scratch.main().first(geometry.block_size());
        const SectorReading reading = read_sectors(held.place, wanted, buffer, deadline);
        if (reading.fatal) {
          return fail(confirm_media(*held.member, *reading.fatal, false, held.on_device(), scratch.aside()).error());
        }
        const SectorMask newly_bad = reading.bad & held.valid;
        const SectorMask revived = reading.good & hopeful;
        if (newly_bad != 0) {
          auto media = confirm_media(*held.member, *reading.media, false, held.on_device(), scratch.aside());
          if (!media) return fail(std::move(media).error());
          stage_lost(held, newly_bad, held.has_slot() ? Cause::slot_error : Cause::read_error, batch);
          return Outcome::still_bad;
        }
        if (revived != 0) stage_revived(held, revived, Cause::operator_clear, batch);
        if (reading.deadline_passed) return fail(Errc::deadline);
        if (revived != lost) return Outcome::still_bad;

        const bool was_weak = held.mapping && held.mapping->state == EntryState::weak;
        if (was_weak && !reading.retried) {
          stage_revived(held, held.valid, Cause::operator_clear, batch);
        } else if (was_weak || (reading.retried && !held.mapping)) {
          stage_weak(held, batch);
          return Outcome::still_bad;
        }
        return Outcome::done;
      });
}

Result<Outcome> Volume::add(BlockIndex block) { return impl_->add(block); }
Result<Outcome> Volume::remove(BlockIndex block) { return impl_->remove(block, true); }
Result<Outcome> Volume::retest(BlockIndex block) { return impl_->retest(block, false); }
Result<Outcome> Volume::mark_lost(BlockIndex block) { return impl_->mark_lost(block); }
Result<Outcome> Volume::clear_lost(BlockIndex block) { return impl_->retest(block, true); }
Result<Outcome> Volume::resume() { return impl_->resume(); }
Result<void> Volume::record_event(Event event) { return impl_->record(std::move(event)); }

}  // namespace remapfs
