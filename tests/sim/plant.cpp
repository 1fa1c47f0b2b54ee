// SPDX-License-Identifier: Apache-2.0
#include "sim/plant.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "io/device_slice.hpp"
#include "sim/sim_device.hpp"
#include "store/check.hpp"
#include "store/spare_format.hpp"
#include "store/sqlite_map_store.hpp"
#include "store/surviving_tags.hpp"
#include "support/borrowed_device.hpp"
#include "support/create_spec.hpp"

namespace remapfs::sim {

using testing::FakeDisk;

namespace {

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void replace(const std::string& path, const std::string& with) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << with;
}

// Whether the rows are the remapped ones among `all`.
bool same_places(const std::vector<RemapRow>& rows, const Rows& all) {
  std::size_t found = 0;
  for (const auto& [block, row] : all) {
    if (row.state != EntryState::remapped) continue;
    if (found == rows.size()) return false;
    const RemapRow& other = rows[found++];
    if (other.block != row.block || other.mapping() != row.mapping() || other.written_mask != row.written_mask) {
      return false;
    }
  }
  return found == rows.size();
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
  DeviceGeometry geometry;
  geometry.logical_block = geometry.physical_block = shape.logical_block;
  geometry.punches_cheaply = shape.punches;
  const ByteCount spare_bytes = size_for(shape.slots, shape.block_size);
  std::uint64_t primary_bytes = shape.disk_bytes;
  if (shape.one_disk) {
    spare_begin_ = ByteOffset(round_up(shape.disk_bytes, store::kStructureAlignment));
    primary_bytes = spare_begin_.value() + spare_bytes.value();
  }
  primary = std::make_unique<FakeDisk>(ByteCount(primary_bytes), geometry, "primary");
  primary->poke(ByteOffset(0), contents);
  geometry.punches_cheaply = false;
  if (!shape.one_disk) own_spare_ = std::make_unique<FakeDisk>(spare_bytes, geometry, "spare");
  spare = shape.one_disk ? primary.get() : own_spare_.get();

  const auto created = store::create_volume(
      testing::simulated_spec(map_path_, ByteCount(shape.disk_bytes), shape.block_size), *spare_outside());
  REMAPFS_INVARIANT(created.has_value());
  first_slot_sector = (spare_begin_.value() + created->spares.front().first_slot.value()) / kSectorSize;
  files = std::make_unique<SimFiles>(world);
}

Plant::~Plant() {
  world.cut(Cut::kill);
  volume.reset();
}

std::unique_ptr<BlockDevice> Plant::spare_device(std::shared_ptr<BlockDevice> disk) const {
  const ByteOffset end(disk->geometry().size.value());
  return *DeviceSlice::make(std::move(disk), {spare_begin_, end});
}

std::unique_ptr<BlockDevice> Plant::spare_outside() const {
  return spare_device(std::make_shared<testing::BorrowedDevice>(*spare));
}

Result<void> Plant::try_mount() {
  VolumeParts parts;
  const auto disk = std::make_shared<SimDevice>(*primary, world);
  const ByteRange own{ByteOffset(0), ByteOffset(shape.disk_bytes)};
  parts.primary = std::make_unique<MemberDevice>(*DeviceSlice::make(disk, own));
  parts.spares[1] = shape.one_disk
                        ? std::make_unique<MemberDevice>(spare_device(disk), parts.primary.get())
                        : std::make_unique<MemberDevice>(spare_device(std::make_shared<SimDevice>(*spare, world)));
  auto store = store::SqliteMapStore::open(map_path_, {});
  if (!store) return fail(std::move(store.error()));
  if (auto attached = (*store)->attach_spare(1, *parts.spares.at(1)); !attached) return attached;
  parts.store = std::make_unique<ObservedStore>(std::move(*store), observed);
  auto opened = Volume::open(std::move(parts), {});
  if (!opened) return fail(std::move(opened.error()));
  volume = std::move(*opened);
  return {};
}

void Plant::leave_behind() {
  volume.reset();
  call_off_failures();
  const bool power = world.how() == Cut::power;
  world.begin_again();
  if (!power) return;
  primary->crash(world.random()());
  if (!shape.one_disk) spare->crash(world.random()());
  files->lose_power();
}

void Plant::call_off_failures() {
  primary->fail_syncs(0);
  spare->fail_syncs(0);
  files->fail_nth(SimFiles::What::change, 0);
}

std::optional<std::string> Plant::check() {
  const auto findings = store::check_map(map_path_, {{1, spare_outside().get()}});
  if (!findings) return "the map cannot be checked: " + describe(findings.error());
  if (!findings->empty()) return "check: " + findings->front().text;
  return std::nullopt;
}

std::optional<std::string> Plant::try_earlier_map() {
  // A log that is left belongs to the latest map.
  if (std::filesystem::exists(map_path_ + "-wal")) return std::nullopt;
  const std::string latest = contents_of(map_path_);
  const std::string earlier = std::exchange(earlier_map_, latest);
  if (earlier.empty() || world.random().one_in(2)) return std::nullopt;
  replace(map_path_, earlier);
  const std::uint64_t changes = world.changes();
  std::optional<std::string> wrong;
  if (try_mount()) {
    wrong = "an earlier copy of the map was mounted";
    volume.reset();
  } else if (world.changes() != changes || contents_of(map_path_) != earlier) {
    wrong = "an earlier copy of the map was refused, but something was written";
  }
  replace(map_path_, latest);
  return wrong;
}

std::optional<std::string> Plant::check_spare_alone(bool after_close) {
  const auto survivors = store::read_surviving_tags(*spare_outside());
  if (!survivors || !survivors->proven) {
    if (!after_close) return std::nullopt;
    return "the spare alone does not prove what is on it: " +
           (survivors ? survivors->doubts.front() : describe(survivors.error()));
  }
  ++proven;
  Rows with_open = observed.rows;
  if (observed.open) Observed::apply(*observed.open, with_open);
  if (same_places(survivors->rows, observed.rows) || same_places(survivors->rows, with_open)) return std::nullopt;
  return "the spare alone proves what was never committed";
}

bool Plant::remapped(std::uint64_t sector) const {
  const auto row = observed.rows.find(sector / shape.sectors_per_block());
  return row != observed.rows.end() && row->second.state == EntryState::remapped;
}

}  // namespace remapfs::sim
