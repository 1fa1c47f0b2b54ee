// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "volume/impl.hpp"

// The slow road of writes: a write failed, is off the device's grid, or meets an entry that asks for care.

namespace remapfs {

namespace {
// Puts the request's bytes, or zeros, at their place in the block.
void overlay(std::span<std::byte> buffer, BlockPart part, const std::byte* data) {
  if (data != nullptr) {
    std::memcpy(buffer.data() + part.begin, data, part.size());
  } else {
    std::memset(buffer.data() + part.begin, 0, part.size());
  }
}
}  // namespace

Result<ByteOffset> Volume::Impl::slow_write(ByteRange range, const std::byte* data, WriteTries& tries,
                                            const std::optional<FailedAccess>& failed) {
  // A write that failed inside one block is not tried there again. In a longer one the block is found by trying.
  const bool one_block = geometry.blocks_touching(range).size() == 1;
  Deadline& deadline = tries.time.deadline();
  // Each block that fails may take seconds to do so, and there was no more time when all of this failed once more.
  const bool untried = failed && !one_block && range.begin < tries.failed_end && deadline.passed();
  if (failed) tries.failed_end = range.end;
  return for_each_held_block(
      range, deadline, {.settle_matters = true, .ends_in_time = !untried},
      [&](const HeldBlock& held, BlockPart part, std::uint64_t at, std::span<std::byte> buffer,
          std::span<std::byte> aside, Batch& batch) -> Result<void> {
        const std::byte* from = data == nullptr ? nullptr : data + at;
        const SectorMask half_covered = part.touched() & ~part.covered();
        if ((half_covered & ~held.valid) != 0) return fail(Errc::lost);
        const SectorMask revived = part.touched() & ~held.valid;

        // The logical blocks of the device that the write changes: all of them valid or covered, or the write would
        // put bytes where a lost sector is remembered.
        const SectorMask changed = widen(part.touched(), held.place.device->geometry().logical_block);
        const bool can_stay = (changed & ~(held.valid | part.covered())) == 0 && (held.has_slot() || revived == 0);
        if (untried && can_stay && !held.has_slot() && part.size() == held.place.used) {
          auto media = confirm_media(*held.member, {Errc::media, 0, {}}, true, held.on_device(), aside);
          if (!media) return media;
          // Where no slot can be had, it is tried after all.
          if (write_to_new_slot(held, part, from, 0, buffer, aside, deadline, Cause::write_error, batch)) return {};
        }

        Cause cause = revived != 0 ? Cause::rewritten : Cause::write_error;
        SectorMask good = 0;
        bool may_be_ruined = false;
        if (can_stay) {
          const bool failed_here = failed && one_block && failed->hit(held);
          const InPlace tried =
              failed_here ? InPlace{fail(Errc::media)} : write_in_place(held, part, from, buffer, deadline);
          if (tried.result) {
            held.member->device().note_write();
            if (revived != 0) stage_revived(held, part.touched(), Cause::rewritten, batch);
            return {};
          }
          const Error& error = tried.result.error();
          if (error.code == Errc::deadline) return tried.result;
          good = tried.good & held.valid;
          may_be_ruined = !failed_here && !tried.edge_failed;
          if (may_be_ruined) batch.at_risk.push_back({held, part, good, buffer});
          auto media = confirm_media(*held.member, error, !tried.edge_failed, held.on_device(), aside);
          if (!media) {
            if (may_be_ruined) stage_ruined_edges(batch, aside);
            return media;
          }
          if (held.has_slot()) {
            cause = Cause::slot_error;
          } else if (tried.edge_failed) {
            cause = Cause::read_error;
          }
        }
        auto moved = write_to_new_slot(held, part, from, good, buffer, aside, deadline, cause, batch);
        if (!moved && may_be_ruined) stage_ruined_edges(batch, aside);
        return moved;
      });
}

Result<void> Volume::Impl::slow_write_all(ByteRange range, const std::byte* data, WriteTries& tries) {
  while (!range.empty()) {
    const auto reached = slow_write(range, data, tries, {});
    if (!reached) return fail(reached.error());
    data += distance(range.begin, *reached).value();
    range.begin = *reached;
  }
  return {};
}

Volume::Impl::InPlace Volume::Impl::write_in_place(const HeldBlock& held, BlockPart part, const std::byte* data,
                                                   std::span<std::byte> buffer, const Deadline& deadline) {
  InPlace done;
  const std::uint32_t logical = held.place.device->geometry().logical_block;
  const std::uint64_t begin = round_down(part.begin, logical);
  const std::uint64_t end = std::min(round_up(part.end, logical), held.place.size);
  // Only the logical blocks at the ends are read, and only when they are not covered.
  SectorMask edges = 0;
  if (begin < part.begin) edges |= BlockGeometry::sectors_touching(begin, begin + logical);
  if (end > part.end) edges |= BlockGeometry::sectors_touching(round_down(part.end, logical), end);
  if (edges != 0) {
    const SectorReading reading = read_sectors(held.place, edges, buffer, deadline);
    done.good = reading.good;
    if (reading.fatal || reading.bad != 0 || reading.deadline_passed) {
      done.edge_failed = true;
      done.result = fail(reading.fatal      ? *reading.fatal
                         : reading.bad != 0 ? *reading.media
                                            : Error{Errc::deadline, 0, {}});
      return done;
    }
  }
  overlay(buffer, part, data);
  done.result = held.place.device->write_all(held.place.begin + begin, buffer.subspan(begin, end - begin));
  return done;
}

void Volume::Impl::stage_ruined_edges(Batch& batch, std::span<std::byte> aside) {
  const AtRisk& risk = batch.at_risk.back();
  if (const SectorMask ruined = ruined_edges(risk, aside); ruined != 0) stage_ruined(risk.held, ruined, batch);
}

void Volume::Impl::lose_ruined(const std::vector<AtRisk>& at_risk, std::span<std::byte> aside) {
  Batch lost;
  for (const AtRisk& risk : at_risk) {
    const SectorMask ruined = ruined_edges(risk, aside);
    if (ruined != 0 && !is_unfinished(risk.held.block)) stage_ruined(risk.held, ruined, lost);
  }
  if (settle(lost, aside)) return;
  for (const Batch::Entry& entry : lost.entries) poison_ruined(entry.change.block);
}

SectorMask Volume::Impl::ruined_edges(const AtRisk& risk, std::span<std::byte> aside) {
  const BlockPlace& place = risk.held.place;
  const SectorMask there = BlockGeometry::mask_of(0, place.size / kSectorSize);
  SectorMask ruined = 0;
  for_each_group(widen(risk.good, place.device->geometry().logical_block) & there, [&](unsigned first, unsigned last) {
    const ByteOffset at = place.begin + first * kSectorSize;
    const auto now = aside.first((last - first) * kSectorSize);
    place.device->drop_cache({at, at + now.size()});
    // What cannot be read now tells so itself, to whoever reads it.
    if (!place.device->read_exact(at, now)) return;
    for (unsigned sector = first; sector < last; ++sector) {
      if ((risk.good >> sector & 1U) == 0) continue;
      const std::uint64_t begin = sector * kSectorSize;
      const auto differs = [&](std::uint64_t from, std::uint64_t to) {
        return from < to &&
               std::memcmp(now.data() + from - first * kSectorSize, risk.buffer.data() + from, to - from) != 0;
      };
      // The request's own bytes may be there or not.
      if (differs(begin, std::min(begin + kSectorSize, risk.part.begin)) ||
          differs(std::max(begin, risk.part.end), begin + kSectorSize)) {
        ruined |= BlockGeometry::mask_of(sector, sector + 1);
      }
    }
  });
  return ruined;
}

Result<void> Volume::Impl::write_to_new_slot(const HeldBlock& held, BlockPart part, const std::byte* data,
                                             SectorMask good, std::span<std::byte> buffer, std::span<std::byte> aside,
                                             const Deadline& deadline, Cause cause, Batch& batch) {
  const SectorMask salvage = held.valid & ~part.covered() & ~good;
  const SectorReading reading = read_sectors(held.place, salvage, buffer, deadline);
  if (reading.fatal) return confirm_media(*held.member, *reading.fatal, false, held.on_device(), aside);
  if (reading.deadline_passed) return fail(Errc::deadline);
  const SectorMask bad = reading.bad & salvage;
  if (bad != 0) {
    if (auto media = confirm_lost(held, *reading.media, aside); !media) return media;
    if ((bad & part.touched()) != 0) {
      // Less than a whole sector was written over a sector whose rest is gone.
      stage_lost(held, bad, held.has_slot() ? Cause::slot_error : Cause::read_error, batch);
      return fail(Errc::lost);
    }
  }
  overlay(buffer, part, data);
  const SectorMask valid = (held.valid & ~bad) | part.touched();
  auto where = write_slot(block_content(held, valid, buffer), aside, batch);
  if (!where) return fail(std::move(where).error());
  stage_new_slot(held, *where, valid, buffer, cause, batch);
  return {};
}

}  // namespace remapfs
