// SPDX-License-Identifier: Apache-2.0
#include "remapfs/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "volume/impl.hpp"

namespace remapfs {

namespace {
// Enough that every thread of an engine can be on the slow road with a block at once, and half of them with a large
// request; more wait their turn.
constexpr std::size_t kScratches = 16;
constexpr std::size_t kSmallScratches = 32;
}  // namespace

std::string_view to_string(VolumeState state) {
  switch (state) {
    case VolumeState::failed: return "failed";
    case VolumeState::suspended: return "suspended";
    case VolumeState::degraded: return "degraded";
    case VolumeState::healthy: return "healthy";
  }
  invariant_failed("VolumeState has a name", __FILE__, __LINE__);
}

Volume::Impl::Impl(VolumeParts parts, VolumeOptions volume_options)
    : options(std::move(volume_options)),
      store(std::move(parts.store)),
      commits(*store),
      geometry(store->info().block_size),
      size(store->info().size),
      block_count(geometry.blocks_in(size)),
      own_memory(options.memory == nullptr ? std::make_unique<VolumeMemory>() : nullptr),
      remembered(options.memory == nullptr ? *own_memory : *options.memory) {
  put_member(std::make_shared<Member>(SpareId{0}, std::move(parts.primary)));
  for (const SpareInfo& spare : store->info().spares) {
    auto one = std::make_shared<Member>(spare.id, std::move(parts.spares[spare.id]));
    one->first_slot = spare.first_slot;
    put_member(std::move(one));
  }
}

Result<void> Volume::Impl::load() {
  std::optional<Error> too_coarse;
  for_each_member([&](const Member& one) {
    if (one.missing()) return;
    const DeviceGeometry& device = one.device().geometry();
    if (device.logical_block > geometry.block_size()) {
      too_coarse = Error{Errc::invalid, 0,
                         fmt::format("{}: its logical block of {} bytes is larger than the volume's block of {}",
                                     one.device().name(), device.logical_block, geometry.block_size())};
    }
    io_alignment = std::max(io_alignment, device.logical_block);
    memory_alignment = std::max(memory_alignment, device.memory_alignment);
  });
  if (too_coarse) return fail(std::move(*too_coarse));
  odd_end_fits = std::all_of(store->info().spares.begin(), store->info().spares.end(), [&](const SpareInfo& info) {
    const Member& spare = *member(info.id);
    return spare.missing() || is_aligned(size.value(), spare.device().geometry().logical_block);
  });
  if (member(0)->missing()) return fail(Errc::invalid, "the primary is missing");
  const std::uint64_t primary_size = member(0)->device().geometry().size.value();
  if (primary_size != size.value()) {
    return fail(Errc::invalid, fmt::format("{}: has {} bytes, the volume's primary has {}: not the same disk",
                                           member(0)->device().name(), primary_size, size.value()));
  }
  if (size.value() == 0) return fail(Errc::invalid, fmt::format("{}: is empty", member(0)->device().name()));

  auto made_table = RemapTable::create(block_count, geometry);
  if (!made_table) return fail(std::move(made_table).error());
  table = std::move(*made_table);
  auto made_scratches = ScratchPool::create(kScratches, kSmallScratches);
  if (!made_scratches) return fail(std::move(made_scratches).error());
  scratches = std::move(*made_scratches);

  for (const SpareInfo& spare : store->info().spares) {
    auto slots = SlotAllocator::create(spare.slots);
    if (!slots) return fail(std::move(slots).error());
    member(spare.id)->slots = std::move(*slots);
  }
  // Room for all rows at once: growing row by row would copy the table again and again.
  loading_room = std::min(store->info().rows, block_count);  // a damaged map may say anything
  if (auto room = table->reserve(loading_room, 0); !room) return room;
  if (auto loaded = store->load([&](std::span<const RemapRow> rows) { return accept_rows(rows); }); !loaded)
    return loaded;
  table->unreserve(loading_room);
  for (const SpareInfo& spare : store->info().spares) {
    for (const SlotIndex slot : spare.retired) member(spare.id)->slots->retire(slot);
  }
  for_each_member([&](Member& one) {
    if (one.missing()) return;
    seed_good_places(one);
    // Acknowledged by the user before, who did not come to flush it: lost with the device, it is for this one to tell.
    if (!store->info().clean) one.device().note_write();
  });
  const MutexLock lock(members_mutex);
  known_info = store->info();
  known_stamp = known_info.primary_stamp;
  return {};
}

// Only after load(): what it makes durable on a device is durable whatever an earlier sync said, and a volume whose
// sync has failed is still there to be read.
void Volume::Impl::go_on_from_memory() {
  for_each_member([&](Member& one) {
    if (one.missing()) return;
    auto synced = one.device().remember_in(remembered.devices[one.id()]);
    if (!synced) static_cast<void>(after_sync(one, synced));
  });
}

void Volume::Impl::leave_in_memory() {
  for_each_member([&](Member& one) {
    if (!one.missing()) one.device().leave_in(remembered.devices[one.id()]);
  });
}

Result<void> Volume::Impl::accept_rows(std::span<const RemapRow> rows) {
  std::vector<TableEntry> entries;
  entries.reserve(rows.size());
  std::uint64_t partial = 0;
  for (const RemapRow& row : rows) {
    if (row.block.value() >= block_count) {
      return fail(Errc::corrupt, fmt::format("block {}: past the end", row.block.value()));
    }
    if (row.state == EntryState::remapped) {
      Member* spare = member(row.where.spare);
      if (spare == nullptr || spare->is_primary() || !spare->slots->mark_used(row.where.slot)) {
        return fail(Errc::corrupt, fmt::format("block {}: slot {} of spare {} does not exist or has two owners",
                                               row.block.value(), row.where.slot.value(), row.where.spare));
      }
    }
    entries.push_back({row.block, row.mapping()});
    if (row.valid_mask != 0 && row.valid_mask != geometry.full_mask()) ++partial;
    count_entry(row.block, row.mapping(), true);
  }
  const std::uint64_t missing = rows.size() - std::min<std::uint64_t>(rows.size(), loading_room);
  if (auto room = table->reserve(missing, partial); !room) return room;
  loading_room += missing;
  table->assign(entries);
  loading_room -= rows.size();
  return {};
}

std::uint64_t Volume::Impl::bytes_of(BlockIndex block) const {
  return std::min(geometry.block_size(), size.value() - geometry.begin_of(block).value());
}

SectorMask Volume::Impl::outside_disk(BlockIndex block) const {
  return geometry.full_mask() & ~BlockGeometry::mask_of(0, bytes_of(block) / kSectorSize);
}

std::uint64_t Volume::Impl::invalid_sectors(BlockIndex block, SectorMask valid) const {
  return static_cast<std::uint64_t>(std::popcount(geometry.full_mask() & ~valid & ~outside_disk(block)));
}

void Volume::Impl::count_entry(BlockIndex block, const Mapping& mapping, bool add) {
  const std::uint64_t one = add ? 1 : ~std::uint64_t{0};
  const auto count = [&](std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    counter.fetch_add(one * n, std::memory_order_relaxed);
  };
  if (mapping.state == EntryState::remapped) count(remapped_blocks, 1);
  if (mapping.state == EntryState::weak) count(weak_blocks, 1);
  count(lost_sectors, invalid_sectors(block, mapping.valid_mask));
}

VolumeStatus Volume::Impl::status() const {
  VolumeStatus now;
  now.remapped_blocks = remapped_blocks.load(std::memory_order_relaxed);
  now.lost_sectors = lost_sectors.load(std::memory_order_relaxed);
  now.weak_blocks = weak_blocks.load(std::memory_order_relaxed);
  now.relocations = remembered.relocations.load(std::memory_order_relaxed);
  for (const RequestCounters& line : remembered.counters) {
    now.reads += line.reads.load(std::memory_order_relaxed);
    now.writes += line.writes.load(std::memory_order_relaxed);
    now.read_errors += line.read_errors.load(std::memory_order_relaxed);
    now.write_errors += line.write_errors.load(std::memory_order_relaxed);
  }
  const GroupCommit::Figures figures = commits.figures();
  now.commits = figures.commits;
  now.longest_commit = figures.longest;
  now.table_growth_refused = table->growth_refused();

  const auto because = [&](VolumeState state, std::string reason) {
    now.state = std::min(now.state, state);
    now.reasons.push_back(std::move(reason));
  };
  if (map_failed()) because(VolumeState::failed, "a commit of the map failed: remount to go on");
  for_each_member([&](const Member& one) {
    if (one.missing()) {
      because(VolumeState::degraded, fmt::format("spare {} is missing", one.id()));
      return;
    }
    DeviceFailures& device = now.failures.emplace_back();
    device.id = one.id();
    for (std::size_t i = 0; i < kDeviceAccesses; ++i) {
      for (std::size_t j = 0; j < kFailureClasses; ++j) {
        device.failures[i][j] = one.device().memory().failures[i][j].load(std::memory_order_relaxed);
      }
    }
    if (one.sync_failed()) because(VolumeState::failed, fmt::format("a sync of {} failed", one.device().name()));
    if (one.breaker_open()) {
      now.suspended = true;
      because(VolumeState::suspended, fmt::format("{} does not work: see `remapfs resume`", one.device().name()));
    }
  });
  if (has_unfinished()) {
    because(now.suspended ? VolumeState::suspended : VolumeState::failed,
            "a spare did not take the end of a commit: see `remapfs resume`");
  }
  for_each_spare([&](const Member& spare) {
    now.spares.push_back(
        {spare.id(), spare.slots->usable(), spare.missing() ? 0 : spare.slots->free(), spare.retiring()});
    if (spare.retiring()) return;
    now.slots_total += now.spares.back().usable;
    now.slots_free += now.spares.back().free;
  });
  if (now.slots_free == 0) because(VolumeState::degraded, "no free slot is left");
  if (now.lost_sectors != 0) because(VolumeState::degraded, fmt::format("{} sectors are lost", now.lost_sectors));
  if (now.weak_blocks != 0) because(VolumeState::degraded, fmt::format("{} blocks are weak", now.weak_blocks));
  if (now.slots_free != 0 && now.slots_free <= now.slots_total / kLowShare) {
    now.reasons.push_back(fmt::format("only {} of {} slots are free: add a spare", now.slots_free, now.slots_total));
  }
  if (now.table_growth_refused) now.reasons.push_back("memory for the remap table was refused: lookups are slower");
  return now;
}

Volume::Volume(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Volume::~Volume() {
  if (impl_ && !impl_->closed) static_cast<void>(close());
}

Result<std::unique_ptr<Volume>> Volume::open(VolumeParts parts, VolumeOptions options) {
  auto impl = std::make_unique<Impl>(std::move(parts), std::move(options));
  if (auto loaded = impl->load(); !loaded) {
    impl->leave_in_memory();
    return fail(std::move(loaded).error());
  }
  impl->go_on_from_memory();
  return std::unique_ptr<Volume>(new Volume(std::move(impl)));
}

// How the primary is left, for the next one to see whether somebody else has written to it. That it cannot be noted
// hides only that.
void Volume::Impl::note_primary() {
  Member& primary = *member(0);
  if (primary.missing() || map_failed()) return;
  std::string stamp = primary.device().stamp();
  if (stamp.empty() && known_stamp.empty()) return;
  MapTransaction transaction;
  transaction.primary_stamp = std::move(stamp);
  std::ignore = commits.commit(std::move(transaction));
}

void Volume::interrupt_waits() {
  {
    MutexLock lock(impl_->resume_mutex);
    impl_->closing = true;
  }
  impl_->resumed.notify_all();
}

Result<void> Volume::close() {
  interrupt_waits();
  impl_->closed = true;
  Result<void> flushed;
  if (!impl_->options.read_only) flushed = impl_->flush();
  if (!impl_->options.read_only && flushed) impl_->note_primary();
  auto closed = impl_->commits.close();
  return flushed ? closed : flushed;
}

ByteCount Volume::size() const { return impl_->size; }
const BlockGeometry& Volume::block_geometry() const { return impl_->geometry; }
VolumeInfo Volume::info() const {
  const MutexLock lock(impl_->members_mutex);
  return impl_->known_info;
}
bool Volume::read_only() const { return impl_->options.read_only; }
VolumeStatus Volume::status() const { return impl_->status(); }
bool Volume::can_punch() const { return primary_geometry().punches_cheaply; }
DeviceGeometry Volume::primary_geometry() const { return impl_->share(0)->device().geometry(); }

Result<void> Volume::flush() {
  if (impl_->options.read_only) return {};
  return impl_->flush();
}

std::uint64_t Volume::generation() const { return impl_->generation.load(std::memory_order_acquire); }

Result<void> Volume::zero(ByteRange range) { return impl_->zero_checked(range, false); }

Result<void> Volume::punch(ByteRange range) {
  if (!can_punch()) return fail(Errc::unsupported);
  return impl_->zero_checked(range, true);
}

Result<ByteOffset> Volume::seek_data(ByteOffset from) { return impl_->seek_data(from); }
Result<ByteOffset> Volume::seek_hole(ByteOffset from) { return impl_->seek_hole(from); }

Result<void> Volume::record_smart(std::vector<SmartReading> readings) {
  if (impl_->options.read_only) return fail(Errc::read_only);
  MapTransaction transaction;
  transaction.smart = std::move(readings);
  const auto committed = impl_->commits.commit(std::move(transaction));
  if (!committed) return fail(committed.error().error);
  return {};
}

}  // namespace remapfs
