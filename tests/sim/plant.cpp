// SPDX-License-Identifier: Apache-2.0
#include "sim/plant.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "io/device_slice.hpp"
#include "sim/sim_device.hpp"
#include "store/check.hpp"
#include "store/join_survivors.hpp"
#include "store/new_spare.hpp"
#include "store/spare_format.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/borrowed_device.hpp"
#include "support/create_spec.hpp"

namespace remapfs::sim {

using testing::FakeDisk;

namespace {

constexpr std::size_t kMostDisks = 7;

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void replace(const std::string& path, const std::string& with) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << with;
}

bool same_place(const RemapRow& l, const RemapRow& r) {
  return l.block == r.block && l.mapping() == r.mapping() && l.written_mask == r.written_mask;
}

// Whether that is where the block is. Null: on the primary.
bool same_place(const RemapRow* row, const Rows& all, std::uint64_t block) {
  const auto there = all.find(block);
  const bool remapped = there != all.end() && there->second.state == EntryState::remapped;
  return row == nullptr ? !remapped : remapped && same_place(*row, there->second);
}

// Whether the rows are those among `all` that are on this spare.
bool same_places(const std::vector<RemapRow>& rows, const Rows& all, SpareId id) {
  std::size_t found = 0;
  for (const auto& [block, row] : all) {
    if (row.state != EntryState::remapped || row.where.spare != id) continue;
    if (found == rows.size() || !same_place(rows[found++], row)) return false;
  }
  return found == rows.size();
}

// What a volume knows of its devices.
void copy_devices(const VolumeMemory& from, VolumeMemory& to) {
  for (std::size_t i = 0; i < from.devices.size(); ++i) {
    const DeviceMemory& known = from.devices[i];
    DeviceMemory& copy = to.devices[i];
    copy.sync_failed = known.sync_failed.load();
    copy.syncing = known.syncing.load();
    copy.unsynced_writes = known.unsynced_writes.load();
    copy.lost_writes = known.lost_writes.load();
    copy.telling_loss = known.telling_loss.load();
    copy.breaker_open = known.breaker_open.load();
  }
}

// The smallest device with so many slots.
ByteCount size_for(std::uint64_t slots, std::uint64_t block_size) {
  ByteCount size(0);
  while (store::slots_for(size, block_size) < slots) size = ByteCount(size.value() + store::kStructureAlignment);
  return size;
}

}  // namespace

Shape::Shape(Random random) {
  constexpr std::array<std::uint64_t, 3> kBlockSizes{512, 4096, 8192};
  block_size = kBlockSizes[random.below(kBlockSizes.size())];
  logical_block = block_size > 512 && random.one_in(4) ? 4096 : 512;
  const std::uint64_t blocks = block_size == 512 ? 192 : 24;
  // The last block may be a part of one.
  disk_bytes = blocks * block_size + (random.one_in(2) ? logical_block : 0);
  slots = random.between(6, 40);
  spare_fails = random.one_in(3);
  punches = random.one_in(2);
  one_disk = random.one_in(4);
}

Plant::Plant(const Shape& made, std::uint64_t seed, std::span<const std::byte> contents) : shape(made), world(seed) {
  const ByteCount spare_bytes = size_for(shape.slots, shape.block_size);
  auto spec = testing::simulated_spec(map_path_, ByteCount(shape.disk_bytes), shape.block_size);
  std::uint64_t primary_bytes = shape.disk_bytes;
  if (shape.one_disk) {
    spec.spare_path = spec.primary_path;
    spec.spare_begin = ByteOffset(round_up(shape.disk_bytes, store::kSlotAlignment));
    primary_bytes = spec.spare_begin.value() + spare_bytes.value();
  }
  make_disk(ByteCount(primary_bytes), spec.primary_path).poke(ByteOffset(0), contents);
  if (!shape.one_disk) make_disk(spare_bytes, spec.spare_path);
  const auto created =
      store::create_volume(spec, *outside({disk_at(spec.spare_path), spec.spare_begin, 0, shape.slots, {}}));
  REMAPFS_INVARIANT(created.has_value());
  take_members(*created);
  files = std::make_unique<SimFiles>(world);
  world.at_end([this] { remember_the_end(); });
}

Plant::~Plant() {
  world.cut(Cut::kill);
  volume.reset();
}

FakeDisk& Plant::make_disk(ByteCount size, const std::string& path) {
  DeviceGeometry geometry;
  geometry.logical_block = geometry.physical_block = shape.logical_block;
  geometry.punches_cheaply = shape.punches;
  return *disks_.emplace_back(std::make_unique<FakeDisk>(size, geometry, path));
}

FakeDisk* Plant::disk_at(const std::string& path) const {
  const auto found = std::find_if(disks_.begin(), disks_.end(), [&](const auto& disk) { return disk->name() == path; });
  return found == disks_.end() ? nullptr : found->get();
}

std::unique_ptr<BlockDevice> Plant::outside(const SpareOnDisk& spare) {
  const ByteOffset end(spare.disk->geometry().size.value());
  return *DeviceSlice::make(std::make_shared<testing::BorrowedDevice>(*spare.disk), {spare.begin, end});
}

void Plant::take_members(const VolumeInfo& info) {
  primary = disk_at(info.primary_path);
  spares.clear();
  for (const SpareInfo& spare : info.spares) {
    const std::uint64_t first_slot = spare.begin.value() + spare.first_slot.value();
    spares[spare.id] = {disk_at(spare.path), spare.begin, first_slot / kSectorSize, spare.slots, spare.uuid};
    highest_spare_ = std::max(highest_spare_, spare.id);
  }
}

Result<void> Plant::try_mount() {
  auto store = store::SqliteMapStore::open(map_path_, {});
  if (!store) return fail(std::move(store.error()));
  const VolumeInfo info = (*store)->info();
  FakeDisk* const disk = disk_at(info.primary_path);
  const auto device = std::make_shared<SimDevice>(*disk, world);
  VolumeParts parts;
  const ByteRange own{ByteOffset(0), ByteOffset(shape.disk_bytes)};
  parts.primary = std::make_unique<MemberDevice>(*DeviceSlice::make(device, own));
  for (const SpareInfo& spare : info.spares) {
    FakeDisk* const its_disk = disk_at(spare.path);
    const bool same = its_disk == disk;
    const ByteRange rest{spare.begin, ByteOffset(its_disk->geometry().size.value())};
    auto slice = DeviceSlice::make(same ? device : std::make_shared<SimDevice>(*its_disk, world), rest);
    MemberDevice& member =
        *parts.spares
             .emplace(spare.id, std::make_unique<MemberDevice>(std::move(*slice), same ? parts.primary.get() : nullptr))
             .first->second;
    if (auto attached = (*store)->attach_spare(spare.id, member); !attached) return attached;
  }
  parts.store = std::make_unique<ObservedStore>(std::move(*store), observed, world);
  memory_ = std::make_unique<VolumeMemory>();
  if (inherited_.is_there) copy_devices(*left_, *memory_);
  VolumeOptions options;
  options.memory = memory_.get();
  options.on_event = [this](const Event& event) {
    if (on_event && !world.ended()) on_event(event);
  };
  auto opened = Volume::open(std::move(parts), options);
  if (!opened) return fail(std::move(opened.error()));
  volume = std::move(*opened);
  take_members(info);
  set_aside_.clear();
  return {};
}

void Plant::leave_behind() {
  volume.reset();
  call_off_failures();
  const bool power = world.how() == Cut::power;
  inherited_ = {};
  if (!power && world.random().one_in(2)) inherit();
  world.begin_again();
  if (!power) return;
  for (const auto& disk : disks_) disk->crash(world.random()());
  files->lose_power();
}

void Plant::remember_the_end() {
  map_in_use_ = {};
  left_ = std::make_unique<VolumeMemory>();
  if (memory_) copy_devices(*memory_, *left_);
}

void Plant::inherit() {
  inherited_.is_there = true;
  for (const DeviceMemory& device : left_->devices) {
    inherited_.sync_failed = inherited_.sync_failed || device.sync_failed;
    inherited_.syncing = inherited_.syncing || device.syncing;
    inherited_.loss = inherited_.loss || device.lost_writes || device.telling_loss;
    inherited_.breaker_open = inherited_.breaker_open || device.breaker_open;
  }
}

void Plant::call_off_failures() {
  for (const auto& disk : disks_) disk->fail_syncs(0);
  files->fail_nth(SimFiles::What::change, 0);
}

void Plant::clear_faults() {
  for (const auto& disk : disks_) disk->clear_faults();
}

FakeDisk& Plant::any_member(Random& random) {
  const std::uint64_t which = random.below(spares.size() + 1);
  if (which == 0) return *primary;
  return *spare_at(which - 1).second.disk;
}

FakeDisk* Plant::find_unused(Random& random) {
  std::vector<FakeDisk*> unused;
  for (const auto& disk : disks_) {
    const bool holds_spare =
        std::any_of(spares.begin(), spares.end(), [&](const auto& spare) { return spare.second.disk == disk.get(); });
    if (disk.get() != primary && !holds_spare && !set_aside_.contains(disk.get())) unused.push_back(disk.get());
  }
  if (disks_.size() < kMostDisks && (unused.empty() || random.one_in(3))) {
    const ByteCount size = size_for(random.between(6, 40), shape.block_size);
    FakeDisk& disk = make_disk(size, "/disk-" + std::to_string(disks_.size()));
    std::vector<std::byte> junk(size.value());
    random.fill(junk);
    disk.poke(ByteOffset(0), junk);
    return &disk;
  }
  return unused.empty() ? nullptr : unused[random.below(unused.size())];
}

Result<NewSpare> Plant::ready_spare(FakeDisk& disk) {
  auto device = std::make_unique<MemberDevice>(std::make_unique<SimDevice>(disk, world));
  // As the operator's program does: the next number that the map has never had.
  const auto superblock = store::design_spare(volume->info(), static_cast<SpareId>(highest_spare_ + 1), *device);
  if (!superblock) return fail(superblock.error());
  if (auto made = store::initialise_spare(*device, *superblock, false); !made) return fail(made.error());
  NewSpare spare;
  spare.info.id = superblock->id;
  spare.info.path = disk.name();
  spare.info.uuid = superblock->spare.to_string();
  spare.info.slots = superblock->layout.slots;
  spare.info.first_slot = superblock->layout.first_slot;
  spare.device = std::move(device);
  return spare;
}

NewPrimary Plant::ready_primary(FakeDisk& disk) {
  const ByteRange own{ByteOffset(0), ByteOffset(shape.disk_bytes)};
  auto slice = DeviceSlice::make(std::make_shared<SimDevice>(disk, world), own);
  return {{disk.name(), "identity of " + disk.name()}, std::make_unique<MemberDevice>(std::move(*slice)), false};
}

std::optional<std::string> Plant::check() {
  std::map<SpareId, std::unique_ptr<BlockDevice>> devices;
  std::map<SpareId, BlockDevice*> given;
  for (const auto& [id, spare] : spares) given[id] = (devices[id] = outside(spare)).get();
  const auto findings = store::check_map(map_path_, given);
  if (!findings) return "the map cannot be checked: " + describe(findings.error());
  if (!findings->empty()) return "check: " + findings->front().text;
  return std::nullopt;
}

std::optional<std::string> Plant::try_earlier_map() {
  // A log that is left belongs to the latest map.
  if (std::filesystem::exists(map_path_ + "-wal")) return std::nullopt;
  const std::string latest = contents_of(map_path_);
  const std::string earlier = std::exchange(earlier_map_, latest);
  const MapCopy in_use = std::exchange(map_in_use_, {});
  // One that has left again has nothing that anybody could miss.
  if (in_use.joined != 0 && spares.contains(in_use.joined)) {
    if (auto wrong = try_map(in_use, latest)) return wrong;
  }
  if (earlier.empty() || world.random().one_in(2)) return std::nullopt;
  return try_map({earlier, {}, 0}, latest);
}

void Plant::copy_map() { map_in_use_ = {contents_of(map_path_), contents_of(map_path_ + "-wal"), 0}; }

std::optional<std::string> Plant::try_map(const MapCopy& earlier, const std::string& latest) {
  replace(map_path_, earlier.file);
  if (!earlier.log.empty()) replace(map_path_ + "-wal", earlier.log);
  const std::uint64_t changes = world.changes();
  std::optional<std::string> wrong;
  if (try_mount()) {
    wrong = "an earlier copy of the map was mounted";
    volume.reset();
  } else if (world.changes() != changes || contents_of(map_path_) != earlier.file) {
    wrong = "an earlier copy of the map was refused, but something was written";
  }
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(map_path_ + suffix);
  replace(map_path_, latest);
  return wrong;
}

std::optional<std::string> Plant::check_spares_alone(bool after_close) {
  std::vector<SpareOnDisk> given;
  for (const auto& [id, spare] : spares) given.push_back(spare);
  // Somebody forgets one, or takes one that has left, or was to join.
  const bool others = world.random().one_in(3);
  if (others) {
    for (const auto& disk : disks_) {
      if (disk.get() != primary) given.push_back({disk.get(), ByteOffset(0), 0, 0, {}});
    }
    std::erase_if(given, [this](const SpareOnDisk&) { return world.random().one_in(3); });
  }
  std::vector<store::SpareSurvivors> survivors;
  for (const SpareOnDisk& spare : given) {
    auto tags = store::read_surviving_tags(*outside(spare));
    if (tags) {
      if (auto wrong = check_one_alone(*tags)) return wrong;
      survivors.push_back({spare.disk->name(), std::move(*tags)});
    } else if (after_close && !others) {
      return "a spare alone does not prove what is on it: " + describe(tags.error());
    }
  }
  if (survivors.empty()) return std::nullopt;
  const auto joint = store::join_survivors(survivors);
  if (joint && joint->proven) {
    ++proven;
    return check_joint(joint->rows);
  }
  const bool hides =
      std::any_of(survivors.begin(), survivors.end(), [](const auto& one) { return one.tags.superblock.hides_losses; });
  if (!after_close || others || hides) return std::nullopt;
  return "the spares alone do not prove what is on them: " + (joint ? joint->doubts.front() : describe(joint.error()));
}

// All of its rows, or all that it would have with the commit that is open.
std::optional<std::string> Plant::check_one_alone(const store::SurvivingTags& tags) const {
  const SpareId id = tags.superblock.id;
  const auto spare = spares.find(id);
  // One that did not join may have its number.
  if (!tags.proven || spare == spares.end() || spare->second.uuid != tags.superblock.spare.to_string()) {
    return std::nullopt;
  }
  const Rows with_open = observed.with_open();
  for (const Rows* rows : {&observed.rows, &with_open, &observed.finished}) {
    if (same_places(tags.rows, *rows, id)) return std::nullopt;
  }
  // Of two such commits it may have one.
  if (observed.unfinished > 1) return std::nullopt;
  return "a spare alone proves what was never committed";
}

// Each block is where it was, or where the commit that is open would put it, or was before one that is not finished.
std::optional<std::string> Plant::check_joint(const std::vector<RemapRow>& rows) const {
  const Rows with_open = observed.with_open();
  std::map<std::uint64_t, const RemapRow*> found;
  for (const RemapRow& row : rows) found[row.block.value()] = &row;
  const BlockGeometry geometry(shape.block_size);
  for (std::uint64_t block = 0; block < geometry.blocks_in(ByteCount(shape.disk_bytes)); ++block) {
    const auto one = found.find(block);
    const RemapRow* const row = one == found.end() ? nullptr : one->second;
    if (same_place(row, observed.rows, block) || same_place(row, with_open, block) ||
        same_place(row, observed.finished, block)) {
      continue;
    }
    return fmt::format("the spares alone prove that block {} is {}, which was never committed", block,
                       row == nullptr ? "on the primary" : "in another slot");
  }
  return std::nullopt;
}

namespace {
bool remapped(const RemapRow* row) { return row != nullptr && row->state == EntryState::remapped; }
bool lost(const RemapRow* row, std::uint64_t sector) {
  return row != nullptr && row->state != EntryState::weak && (row->valid_mask >> sector & 1U) == 0;
}
}  // namespace

bool Plant::surely_remapped(std::uint64_t sector) const {
  const std::uint64_t block = sector / shape.sectors_per_block();
  return remapped(observed.row(block)) && remapped(observed.row_with_open(block));
}

bool Plant::perhaps_remapped(std::uint64_t sector) const {
  const std::uint64_t block = sector / shape.sectors_per_block();
  return remapped(observed.row(block)) || remapped(observed.row_with_open(block));
}

bool Plant::surely_lost(std::uint64_t sector) const {
  const std::uint64_t block = sector / shape.sectors_per_block();
  const std::uint64_t inside = sector % shape.sectors_per_block();
  return lost(observed.row(block), inside) && lost(observed.row_with_open(block), inside);
}

}  // namespace remapfs::sim
