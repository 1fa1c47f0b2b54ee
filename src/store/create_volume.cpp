// SPDX-License-Identifier: Apache-2.0
#include "store/create_volume.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "remapfs/aligned_buffer.hpp"
#include "store/new_map.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sql.hpp"

namespace remapfs::store {
namespace {

constexpr std::uint64_t kZeroingBytes = std::uint64_t{1} << 20U;

Result<void> zero(BlockDevice& device, ByteRange range) {
  if (auto zeroed = device.zero_range(range); zeroed || is_media_error(zeroed.error())) return zeroed;
  auto zeros = AlignedBuffer::allocate(kZeroingBytes);
  if (!zeros) return fail(std::move(zeros.error()));
  for (ByteOffset at = range.begin; at < range.end;) {
    const std::uint64_t length = std::min(kZeroingBytes, distance(at, range.end).value());
    if (auto written = device.write_all(at, zeros->first(length)); !written) return written;
    at += length;
  }
  return {};
}

Result<void> initialise_spare(BlockDevice& spare, const Superblock& superblock, bool reads_zeros) {
  const SpareLayout& layout = superblock.layout;
  for (std::size_t i = 0; i < 2 && !reads_zeros; ++i) {
    auto zeroed = zero(spare, {layout.tags[i], layout.tags[i] + layout.tag_table_bytes()});
    if (!zeroed) return zeroed;
  }
  // Tags first: a superblock never stands before tables that belong to something else.
  if (auto synced = spare.sync(); !synced) return synced;
  auto written = write_superblocks(spare, superblock);
  if (!written) return fail(std::move(written.error()));
  for (auto& copy : written->copy) {
    if (!copy) return std::move(copy);  // a spare that starts with a bad superblock is not worth having
  }
  return spare.sync();
}

void wipe_superblocks(BlockDevice& spare, const SpareLayout& layout) {
  for (const ByteOffset at : layout.superblock) {
    if (auto zeroed = zero(spare, {at, at + kStructureAlignment}); !zeroed) continue;
  }
  if (auto synced = spare.sync(); !synced) return;
}

NewMap first_contents(const CreateSpec& spec, const Superblock& superblock) {
  NewMap map;
  map.uuid = superblock.volume.to_string();
  map.label = spec.label;
  map.block_size = spec.block_size;
  map.size = spec.size;
  map.primary_path = spec.primary_path;
  map.primary_identity = spec.primary_identity;
  map.clean = true;
  map.spares.push_back({superblock, spec.spare_path, spec.spare_identity, Sequence(0)});
  map.events.push_back({0,
                        {},
                        {"created", std::nullopt,
                         fmt::format("{} slots of {} bytes", superblock.layout.slots, superblock.layout.block_size)}});
  return map;
}

Result<Superblock> design(const CreateSpec& spec, const BlockDevice& spare) {
  if (!BlockGeometry::is_valid_block_size(spec.block_size)) {
    return fail(Errc::invalid, fmt::format("block size {}, must be a power of two from 512 to 32768", spec.block_size));
  }
  if (spec.size.value() == 0 || spec.size.value() % kSectorSize != 0 || to_sql(spec.size.value()) < 0) {
    return fail(Errc::invalid,
                fmt::format("{}, size {} is not a number of whole sectors", spec.primary_path, spec.size.value()));
  }
  const DeviceGeometry& geometry = spare.geometry();
  if (geometry.logical_block > kStructureAlignment || spec.block_size < geometry.logical_block) {
    return fail(Errc::invalid, fmt::format("spare {}, its logical block of {} bytes is larger than the block size {}, "
                                           "choose a larger one",
                                           spare.name(), geometry.logical_block, spec.block_size));
  }
  Superblock superblock;
  superblock.layout = SpareLayout::of(geometry.size, spec.block_size);
  if (superblock.layout.slots == 0) {
    return fail(Errc::invalid, fmt::format("spare {}, {} bytes are too few for one slot, give it at least 2 MiB",
                                           spare.name(), geometry.size.value()));
  }
  auto volume_uuid = Uuid::generate();
  if (!volume_uuid) return fail(std::move(volume_uuid.error()));
  auto spare_uuid = Uuid::generate();
  if (!spare_uuid) return fail(std::move(spare_uuid.error()));
  superblock.volume = *volume_uuid;
  superblock.spare = *spare_uuid;
  superblock.volume_size = spec.size;
  superblock.primary_identity = spec.primary_identity;
  return superblock;
}

}  // namespace

Result<VolumeInfo> create_volume(const CreateSpec& spec, BlockDevice& spare) {
  auto superblock = design(spec, spare);
  if (!superblock) return fail(std::move(superblock.error()));
  if (auto free = require_free_name(spec.map_path); !free) return fail(std::move(free.error()));
  auto map = TemporaryMap::make_beside(spec.map_path);
  if (!map) return fail(std::move(map.error()));
  auto info = fill_map(map->path(), first_contents(spec, *superblock));
  if (!info) return info;
  auto initialised = initialise_spare(spare, *superblock, spec.spare_reads_zeros);
  if (initialised) initialised = map->appear_as(spec.map_path);
  if (!initialised) {
    wipe_superblocks(spare, superblock->layout);
    return fail(std::move(initialised.error()));
  }
  info->map_path = spec.map_path;
  return info;
}

}  // namespace remapfs::store
