// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "volume/impl.hpp"

// Spares that come and go while the volume is in use.

namespace remapfs {

std::shared_ptr<Member> Volume::Impl::share(SpareId id) const {
  const MutexLock lock(members_mutex);
  return owned[id];
}

void Volume::Impl::put_member(std::shared_ptr<Member> one) {
  const MutexLock lock(members_mutex);
  const SpareId id = one->id();
  // What a change of the table leads to is there before the change is seen.
  members[id].store(one.get(), std::memory_order_release);
  owned[id] = std::move(one);
  if (highest_member.load(std::memory_order_relaxed) < id) highest_member.store(id, std::memory_order_release);
}

Result<void> Volume::Impl::fits_beside(const DeviceGeometry& device, const std::string& name) const {
  const bool even_end = is_aligned(size.value(), device.logical_block);
  if (device.logical_block <= io_alignment && device.memory_alignment <= memory_alignment &&
      (even_end || !odd_end_fits)) {
    return {};
  }
  return fail(Errc::unsupported,
              fmt::format("its logical block of {} bytes is larger than the volume's now, {}, unmount the "
                          "volume first",
                          device.logical_block, name));
}

Result<void> Volume::Impl::add_spare(NewSpare spare) {
  if (options.read_only) return fail(Errc::read_only, "the volume is read-only, a new spare, mount it for writing");
  if (!spare.alone) {
    if (auto fits = fits_beside(spare.device->geometry(), spare.info.path); !fits) return fits;
  }
  auto slots = SlotAllocator::create(spare.info.slots);
  if (!slots) return fail(std::move(slots).error());
  auto member = std::make_shared<Member>(spare.info.id, std::move(spare.device));
  member->first_slot = spare.info.first_slot;
  member->slots = std::move(*slots);
  seed_good_places(*member);
  auto added =
      commits.change_spares([&](MapStore& map) { return map.add_spare(spare.info, spare.identity, member->device()); });
  if (!added) return added;
  // The number is ours now: until the map had said so, what is remembered under it may have been another one's.
  auto synced = member->device().remember_in(remembered.devices[spare.info.id]);
  if (!synced) static_cast<void>(after_sync(*member, synced));
  put_member(member);
  {
    const MutexLock lock(members_mutex);
    known_info.spares.push_back(spare.info);
  }
  spare_is_low = false;
  std::ignore = record({"spare-added", std::nullopt,
                        fmt::format("spare {}, {}: {} slots", spare.info.id, spare.info.path, spare.info.slots)});
  return {};
}

// Slots that others could take its blocks to.
std::uint64_t Volume::Impl::free_slots_beside(SpareId id) const {
  std::uint64_t free = 0;
  for_each_spare([&](const Member& other) {
    const bool takes_blocks = !other.missing() && !other.retiring() && !other.behind();
    if (other.id() != id && takes_blocks) free += other.slots->free();
  });
  return free;
}

Result<void> Volume::Impl::retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) {
  if (options.read_only) return fail(Errc::read_only, "the volume is read-only, a spare, mount it for writing");
  const auto spare = id == 0 ? nullptr : share(id);
  if (!spare) return fail(Errc::not_found, fmt::format("the volume has no spare {}, see remapfs spare list", id));
  if (spare->missing()) {
    return fail(Errc::device_gone, fmt::format("spare {} is missing, its blocks cannot be read, bring it back", id));
  }
  if (auto trusted = check_trusted(*spare); !trusted) return trusted;
  const std::uint64_t used = spare->slots->usable() - spare->slots->free();
  if (const std::uint64_t room = free_slots_beside(id); room < used) {
    return fail(
        Errc::no_space,
        fmt::format("{} blocks live on spare {}, the others have {} free slots, add a spare first", used, id, room));
  }
  if (!spare->begin_retiring()) return fail(Errc::busy, fmt::format("spare {} is being retired already", id));
  auto retired = empty_spare(*spare, moved);
  if (retired) retired = drop_spare(*spare);
  if (!retired) {
    spare->end_retiring();
    return retired;
  }
  // With nothing held: with this commit the others are told, and each of them, as one on its way out, may take its
  // time.
  std::ignore = record({"spare-retired", std::nullopt, fmt::format("spare {} left the volume", id)});
  store->wipe_spare(spare->device());
  return {};
}

// What such a device has lost is for the next flush to tell, which asks those that are members then.
Result<void> Volume::Impl::check_trusted(const Member& member) {
  const DeviceMemory& memory = member.device().memory();
  if (!member.sync_failed() && !memory.lost_writes && !memory.telling_loss) return {};
  return fail(Errc::failed, fmt::format("{} has lost writes or could not be synced, run remapfs resume and flush the "
                                        "disk first",
                                        member.is_primary() ? "the primary" : fmt::format("spare {}", member.id())));
}

Result<void> Volume::Impl::empty_spare(const Member& spare, const std::function<bool(BlockIndex)>& moved) {
  {
    // Whoever took a slot there before it was to be emptied has published it after this.
    const auto everybody = gate.exclude(whole_disk(), Deadline(options.request_budget));
    if (!everybody) return fail(Errc::busy, "requests are still waiting for a device, try again");
  }
  const BlockIndex end(block_count);
  BlockIndex from(0);
  std::vector<BlockIndex> stuck;
  while (const auto entry = table->next_entry(from, end)) {
    const BlockRange some{*entry, std::min(end, *entry + kMostBlocksHeld)};
    from = some.end;
    const std::vector<BlockIndex> there = blocks_on(spare.id(), some);
    if (there.empty()) continue;
    // The first time may find sectors that cannot be read, which are recorded; the rest moves then.
    auto left = leave_spare(some, spare.id());
    if (!left && left.error().code == Errc::lost) left = leave_spare(some, spare.id());
    const bool needs_time = !left && (left.error().code == Errc::lost || left.error().code == Errc::deadline);
    if (!left && !needs_time) return left;
    for (const BlockIndex block : there) {
      if (needs_time) {
        auto alone = leave_spare_with_care(block, spare.id());
        if (!alone) {
          const bool is_stuck = alone.error().code == Errc::deadline || alone.error().code == Errc::busy;
          if (!is_stuck) return alone;
          stuck.push_back(block);
          continue;
        }
      }
      if (moved(block)) continue;
      return fail(Errc::interrupted,
                  "interrupted, the rest of its blocks stay where they are, retire it again to go on");
    }
  }
  if (stuck.empty()) return {};
  return fail(
      Errc::deadline,
      fmt::format("{} blocks cannot be read in time, the first is {}, retire it again or remapfs mark-lost them",
                  stuck.size(), stuck.front().value()));
}

// Each sector that fails is known to be lost when it has had its tries, and recorded: then the next one has its own.
Result<void> Volume::Impl::leave_spare_with_care(BlockIndex block, SpareId id) {
  Result<Outcome> left;
  for (std::uint64_t sectors = geometry.block_size() / kSectorSize, i = 0; i <= sectors; ++i) {
    left = with_block(block, care_times(),
                      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
                          Batch& batch) -> Result<Outcome> {
                        const auto buffer = scratch.main().first(geometry.block_size());
                        auto staged = leave_spare(held, id, buffer, scratch.aside(), deadline, batch);
                        if (!staged) return fail(std::move(staged).error());
                        return Outcome::done;
                      });
    if (left) return {};
    if (closing) return fail(Errc::interrupted, "interrupted, the volume is being unmounted, retire it again");
    if (left.error().code != Errc::lost) break;
  }
  return fail(std::move(left).error());
}

std::vector<BlockIndex> Volume::Impl::blocks_on(SpareId id, BlockRange blocks) const {
  std::vector<BlockIndex> there;
  for (BlockIndex block = blocks.begin; block < blocks.end; ++block) {
    const auto mapping = table->find(block);
    if (mapping && mapping->state == EntryState::remapped && mapping->where.spare == id) there.push_back(block);
  }
  return there;
}

Result<void> Volume::Impl::leave_spare(BlockRange blocks, SpareId id) {
  const ByteRange range{geometry.begin_of(blocks.begin),
                        std::min(geometry.begin_of(blocks.end), ByteOffset(size.value()))};
  Deadline deadline(options.request_budget, [this] { return closing.load(); });
  const auto reached = for_each_held_block(
      range, deadline, {.settle_matters = true, .ends_in_time = true},
      [&](const HeldBlock& held, BlockPart, std::uint64_t, std::span<std::byte> buffer, std::span<std::byte> aside,
          Batch& batch) { return leave_spare(held, id, buffer, aside, deadline, batch); });
  if (!reached) return fail(reached.error());
  if (*reached < range.end) return fail(Errc::deadline);
  return {};
}

Result<void> Volume::Impl::leave_spare(const HeldBlock& held, SpareId id, std::span<std::byte> buffer,
                                       std::span<std::byte> aside, const Deadline& deadline, Batch& batch) {
  if (!held.has_slot() || held.mapping->where.spare != id) return {};
  // What cannot be read now is left behind for good.
  held.member->forget_probe(false);
  const auto reading = read_valid(held, held.valid, buffer, aside, deadline, batch);
  if (!reading) return fail(reading.error());
  return stage_relocation(held, reading->good, buffer, aside, deadline, &deadline, Cause::spare_retired, batch);
}

// Nothing lives on it: nobody's request can lead there once the last one that might is over.
Result<void> Volume::Impl::drop_spare(const Member& spare) {
  const SpareId id = spare.id();
  auto hold = gate.exclude(whole_disk(), Deadline(options.request_budget));
  if (!hold) return fail(Errc::busy, "requests are still waiting for a device, try again");
  if (auto trusted = check_trusted(spare); !trusted) return trusted;
  // Blocks that are on their way from it may have nothing else yet.
  if (has_unfinished()) {
    return fail(Errc::suspended, fmt::format("blocks wait for `remapfs resume`, spare {}, run it first", id));
  }
  auto dropped = commits.change_spares([&](MapStore& map) { return map.retire_spare(id); });
  if (!dropped) return dropped;
  {
    const MutexLock lock(members_mutex);
    members[id].store(nullptr, std::memory_order_release);
    owned[id].reset();
    std::erase_if(known_info.spares, [&](const SpareInfo& info) { return info.id == id; });
  }
  return {};
}

// The one warning, ahead of time, that slots run out.
std::optional<Event> Volume::Impl::low_on_slots() {
  std::uint64_t usable = 0;
  std::uint64_t free = 0;
  for_each_spare([&](const Member& spare) {
    if (spare.missing() || spare.retiring()) return;
    usable += spare.slots->usable();
    free += spare.slots->free();
  });
  if (free > usable / kLowShare || spare_is_low.exchange(true)) return std::nullopt;
  return Event{"spare-low", std::nullopt, fmt::format("{} of {} slots are free: add a spare", free, usable)};
}

Result<void> Volume::add_spare(NewSpare spare) { return impl_->add_spare(std::move(spare)); }
Result<void> Volume::retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) {
  return impl_->retire_spare(id, moved);
}

}  // namespace remapfs
