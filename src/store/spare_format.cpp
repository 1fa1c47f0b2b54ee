// SPDX-License-Identifier: Apache-2.0
#include "store/spare_format.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>

#include "store/little_endian.hpp"

namespace remapfs::store {
namespace {

// "RMFSPARE" as its bytes appear on the device.
constexpr std::uint64_t kMagic = 0x4552415053464D52U;
constexpr std::size_t kChecksumAt = kSuperblockBytes - 8;
constexpr std::size_t kIdentityAt = 128;
constexpr std::size_t kFlagsAt = kIdentityAt + kIdentityBytes;
constexpr std::size_t kEndOfSuperblock = kFlagsAt + 8 + 32 + 8;  // flags, numbers and digest of all spares
constexpr std::uint64_t kHidesLosses = 1;
constexpr std::uint64_t kBetweenSpares = 2;
constexpr std::size_t kBitsOfAWord = 64;
constexpr std::uint64_t kClearedBlock = ~std::uint64_t{0};

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::uint64_t table_bytes_for(std::uint64_t slots) {
  const std::uint64_t sectors = (slots + kTagsPerSector - 1) / kTagsPerSector;
  return round_up(sectors * kSectorSize, kStructureAlignment);
}

std::uint64_t first_slot_for(std::uint64_t slots) {
  return round_up(kStructureAlignment + table_bytes_for(slots), kSlotAlignment);
}

// Bytes a spare with this many slots needs.
std::uint64_t bytes_for(std::uint64_t slots, std::uint64_t block_size) {
  const std::uint64_t slots_end = round_up(first_slot_for(slots) + slots * block_size, kStructureAlignment);
  return slots_end + table_bytes_for(slots) + kStructureAlignment;
}

std::uint64_t tag_checksum(std::span<const std::byte> fields, const Uuid& spare, SlotIndex slot) {
  std::array<std::byte, 32 + 8 + 16> covered{};
  ByteWriter writer(covered);
  writer.bytes(fields);
  writer.u64(slot.value());
  writer.bytes(spare.bytes);
  return XXH3_64bits(covered.data(), covered.size());
}

}  // namespace

std::uint64_t slots_for(ByteCount device_size, std::uint64_t block_size) {
  const std::uint64_t usable = round_down(device_size.value(), kStructureAlignment);
  // bytes_for() grows with its argument: the largest count that still fits lies in [low, high).
  std::uint64_t low = 0;
  std::uint64_t high = std::min(usable / block_size, kMaxSlotsPerSpare) + 1;
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (bytes_for(middle, block_size) <= usable ? low : high) = middle;
  }
  return low;
}

SpareLayout SpareLayout::of(ByteCount device_size, std::uint64_t block_size) {
  SpareLayout layout;
  layout.block_size = block_size;
  layout.slots = slots_for(device_size, block_size);
  if (layout.slots == 0) return layout;
  layout.device_size = ByteCount(round_down(device_size.value(), kStructureAlignment));
  layout.superblock[0] = ByteOffset(0);
  layout.superblock[1] = ByteOffset(layout.device_size.value() - kStructureAlignment);
  layout.tags[0] = ByteOffset(kStructureAlignment);
  layout.tags[1] = ByteOffset(layout.superblock[1].value() - table_bytes_for(layout.slots));
  layout.first_slot = ByteOffset(first_slot_for(layout.slots));
  return layout;
}

std::uint64_t SpareLayout::tag_table_bytes() const { return table_bytes_for(slots); }

void encode_superblock(const Superblock& superblock, std::span<std::byte> out) {
  REMAPFS_INVARIANT(out.size() == kSuperblockBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  ByteWriter writer(out);
  const SpareLayout& layout = superblock.layout;
  writer.u64(kMagic);
  writer.u32(kSpareFormatVersion);
  writer.u32(superblock.id);
  writer.bytes(superblock.volume.bytes);
  writer.bytes(superblock.spare.bytes);
  writer.u64(layout.block_size);
  writer.u64(layout.slots);
  writer.u64(layout.device_size.value());
  writer.u64(layout.tags[0].value());
  writer.u64(layout.tags[1].value());
  writer.u64(layout.first_slot.value());
  writer.u64(superblock.watermark.value());
  writer.u64(superblock.rows.count);
  writer.u64(superblock.rows.digest);
  writer.u64(superblock.volume_size.value());
  REMAPFS_INVARIANT(writer.position() == kIdentityAt);
  if (superblock.primary_identity.size() <= kIdentityBytes) {
    writer.bytes(std::as_bytes(std::span(superblock.primary_identity)));
  }
  ByteWriter rest(out.subspan(kFlagsAt));
  rest.u64((superblock.hides_losses ? kHidesLosses : 0) | (superblock.between_spares ? kBetweenSpares : 0));
  const auto& numbers = superblock.spares.numbers;
  for (std::size_t first = 0; first < numbers.size(); first += kBitsOfAWord) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < kBitsOfAWord; ++i) word |= std::uint64_t{numbers[first + i]} << i;
    rest.u64(word);
  }
  rest.u64(superblock.spares.digest);
  ByteWriter checksum(out.subspan(kChecksumAt));
  checksum.u64(XXH3_64bits(out.data(), kChecksumAt));
}

Result<Superblock> decode_superblock(std::span<const std::byte> in) {
  REMAPFS_INVARIANT(in.size() == kSuperblockBytes);
  if (all_zero(in)) return fail(Errc::not_found);
  ByteReader reader(in);
  if (reader.u64() != kMagic) return fail(Errc::foreign);
  // Magic, version and checksum keep their places in every version.
  if (ByteReader(in.subspan(kChecksumAt)).u64() != XXH3_64bits(in.data(), kChecksumAt)) return fail(Errc::corrupt);
  if (reader.u32() > kSpareFormatVersion) return fail(Errc::too_new);

  Superblock superblock;
  const std::uint32_t id = reader.u32();
  reader.bytes(superblock.volume.bytes);
  reader.bytes(superblock.spare.bytes);
  SpareLayout claimed;
  claimed.block_size = reader.u64();
  claimed.slots = reader.u64();
  claimed.device_size = ByteCount(reader.u64());
  claimed.tags[0] = ByteOffset(reader.u64());
  claimed.tags[1] = ByteOffset(reader.u64());
  claimed.first_slot = ByteOffset(reader.u64());
  superblock.watermark = Sequence(reader.u64());
  superblock.rows.count = reader.u64();
  superblock.rows.digest = reader.u64();
  superblock.volume_size = ByteCount(reader.u64());
  const std::span<const std::byte> identity = in.subspan(kIdentityAt, kIdentityBytes);
  const auto end = std::find(identity.begin(), identity.end(), std::byte{0});
  if (!all_zero(identity.subspan(static_cast<std::size_t>(end - identity.begin())))) return fail(Errc::corrupt);
  for (auto byte = identity.begin(); byte != end; ++byte) {
    superblock.primary_identity += static_cast<char>(std::to_integer<unsigned char>(*byte));
  }
  ByteReader rest(in.subspan(kFlagsAt));
  const std::uint64_t flags = rest.u64();
  if ((flags & ~(kHidesLosses | kBetweenSpares)) != 0) return fail(Errc::corrupt);
  superblock.hides_losses = (flags & kHidesLosses) != 0;
  superblock.between_spares = (flags & kBetweenSpares) != 0;
  auto& numbers = superblock.spares.numbers;
  for (std::size_t first = 0; first < numbers.size(); first += kBitsOfAWord) {
    const std::uint64_t word = rest.u64();
    for (std::size_t i = 0; i < kBitsOfAWord; ++i) numbers[first + i] = (word >> i & 1U) != 0;
  }
  superblock.spares.digest = rest.u64();
  if (!all_zero(in.subspan(kEndOfSuperblock, kChecksumAt - kEndOfSuperblock))) return fail(Errc::corrupt);
  if (id == 0 || id > 255 || !BlockGeometry::is_valid_block_size(claimed.block_size)) return fail(Errc::corrupt);
  superblock.id = static_cast<SpareId>(id);
  if (numbers.any() && (numbers[0] || !numbers[id])) return fail(Errc::corrupt);
  superblock.layout = SpareLayout::of(claimed.device_size, claimed.block_size);
  claimed.superblock[1] = superblock.layout.superblock[1];
  if (superblock.layout.slots == 0 || superblock.layout != claimed) return fail(Errc::corrupt);
  return superblock;
}

void encode_tag(const Tag& tag, const Uuid& spare, SlotIndex slot, std::span<std::byte> out) {
  REMAPFS_INVARIANT(out.size() == kTagBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  if (tag.kind == Tag::Kind::never_used) return;
  REMAPFS_INVARIANT(tag.kind != Tag::Kind::invalid);
  ByteWriter writer(out);
  writer.u64(tag.kind == Tag::Kind::cleared ? kClearedBlock : tag.block.value());
  writer.u64(tag.sequence.value());
  writer.u64(tag.valid_mask);
  writer.u64(tag.written_mask);
  writer.u64(tag_checksum(out.first(32), spare, slot));
}

Tag decode_tag(std::span<const std::byte> in, const Uuid& spare, SlotIndex slot) {
  REMAPFS_INVARIANT(in.size() == kTagBytes);
  Tag tag;
  if (all_zero(in)) return tag;
  ByteReader reader(in);
  tag.kind = Tag::Kind::used;
  tag.block = BlockIndex(reader.u64());
  tag.sequence = Sequence(reader.u64());
  tag.valid_mask = reader.u64();
  tag.written_mask = reader.u64();
  constexpr Tag kInvalid{Tag::Kind::invalid, {}, {}, 0, 0};
  if (reader.u64() != tag_checksum(in.first(32), spare, slot)) return kInvalid;
  if (tag.block.value() != kClearedBlock) return tag;
  return tag.valid_mask == 0 && tag.written_mask == 0 ? Tag::cleared_at(tag.sequence) : kInvalid;
}

}  // namespace remapfs::store
