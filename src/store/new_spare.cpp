// SPDX-License-Identifier: Apache-2.0
#include "store/new_spare.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "remapfs/aligned_buffer.hpp"
#include "store/spare_superblocks.hpp"

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

Result<void> write_structures(BlockDevice& spare, const Superblock& superblock, bool reads_zeros) {
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

}  // namespace

Result<Superblock> design_spare(const VolumeInfo& volume, SpareId id, const BlockDevice& spare) {
  const DeviceGeometry& geometry = spare.geometry();
  if (geometry.logical_block > kStructureAlignment || volume.block_size < geometry.logical_block) {
    return fail(Errc::invalid, fmt::format("spare {}, its logical block of {} bytes is larger than the block size {}, "
                                           "choose a larger one",
                                           spare.name(), geometry.logical_block, volume.block_size));
  }
  Superblock superblock;
  superblock.layout = SpareLayout::of(geometry.size, volume.block_size);
  if (superblock.layout.slots == 0) {
    return fail(Errc::invalid, fmt::format("spare {}, {} bytes are too few for one slot, give it at least 2 MiB",
                                           spare.name(), geometry.size.value()));
  }
  const auto volume_uuid = Uuid::parse(volume.uuid);
  REMAPFS_INVARIANT(volume_uuid.has_value());
  auto uuid = Uuid::generate();
  if (!uuid) return fail(std::move(uuid.error()));
  superblock.volume = *volume_uuid;
  superblock.spare = *uuid;
  superblock.id = id;
  superblock.volume_size = volume.size;
  superblock.primary_identity = volume.primary_identity;
  superblock.spares = SpareRoll::of(volume.spares);
  superblock.spares.enter(id, superblock.spare);
  return superblock;
}

Result<void> initialise_spare(BlockDevice& spare, const Superblock& superblock, bool reads_zeros) {
  auto written = write_structures(spare, superblock, reads_zeros);
  if (!written) wipe_superblocks(spare, superblock.layout);
  return written;
}

Result<bool> is_never_used(BlockDevice& spare, const Superblock& superblock) {
  if (superblock.watermark != Sequence(0) || superblock.rows != RowTotals{}) return false;
  auto buffer = AlignedBuffer::allocate(kZeroingBytes);
  if (!buffer) return fail(std::move(buffer.error()));
  for (const ByteOffset table : superblock.layout.tags) {
    const ByteOffset end = table + superblock.layout.tag_table_bytes();
    for (ByteOffset at = table; at < end; at += kZeroingBytes) {
      const auto tags = buffer->first(std::min(kZeroingBytes, distance(at, end).value()));
      if (auto read = spare.read_exact(at, tags); !read) return fail(std::move(read.error()));
      if (std::any_of(tags.begin(), tags.end(), [](std::byte one) { return one != std::byte{}; })) return false;
    }
  }
  return true;
}

void wipe_superblocks(BlockDevice& spare, const SpareLayout& layout) {
  for (const ByteOffset at : layout.superblock) {
    if (auto zeroed = zero(spare, {at, at + kStructureAlignment}); !zeroed) continue;
  }
  if (auto synced = spare.sync(); !synced) return;
}

}  // namespace remapfs::store
