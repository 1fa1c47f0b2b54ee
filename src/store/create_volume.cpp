// SPDX-License-Identifier: Apache-2.0
#include "store/create_volume.hpp"

#include <fmt/format.h>

#include "store/new_map.hpp"
#include "store/new_spare.hpp"
#include "store/sql.hpp"

namespace remapfs::store {
namespace {

NewMap first_contents(const CreateSpec& spec, const Superblock& superblock) {
  NewMap map;
  map.uuid = superblock.volume.to_string();
  map.label = spec.label;
  map.block_size = spec.block_size;
  map.size = spec.size;
  map.primary_path = spec.primary_path;
  map.primary_identity = spec.primary_identity;
  map.clean = true;
  map.spares.push_back({superblock, spec.spare_path, spec.spare_identity, Sequence(0), spec.spare_begin});
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
  auto uuid = Uuid::generate();
  if (!uuid) return fail(std::move(uuid.error()));
  VolumeInfo volume;
  volume.uuid = uuid->to_string();
  volume.block_size = spec.block_size;
  volume.size = spec.size;
  volume.primary_identity = spec.primary_identity;
  return design_spare(volume, 1, spare);
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
