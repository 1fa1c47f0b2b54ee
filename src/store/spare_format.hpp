// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/units.hpp"
#include "store/spare_roll.hpp"
#include "store/uuid.hpp"

// The bytes of a spare. docs/map-format.md describes them for people; this is the only code that knows offsets.
//
//   0                superblock, copy A (512 bytes used of 4096)
//   4096             tag table, copy A
//   n * 1 MiB        slot 0, slot 1, ...
//   ...              tag table, copy B
//   end - 4096       superblock, copy B
//
// The copies lie at opposite ends so that local damage (a bad patch, a partition tool) meets one of them. All numbers
// are little-endian. Every structure starts at a multiple of 4096 bytes, which serves 4Kn devices as well.

namespace remapfs::store {

inline constexpr std::uint32_t kSpareFormatVersion = 1;
inline constexpr std::uint64_t kStructureAlignment = 4096;
inline constexpr std::uint64_t kSlotAlignment = std::uint64_t{1} << 20U;

inline constexpr std::size_t kSuperblockBytes = 512;
inline constexpr std::size_t kIdentityBytes = 256;
inline constexpr std::size_t kTagBytes = 40;
inline constexpr std::uint64_t kTagsPerSector = 12;  // 480 bytes, then 32 zero bytes: no tag crosses a sector

// The two copies of superblock and tag table.
enum class Copy : std::uint8_t { a = 0, b = 1 };
inline constexpr Copy kCopies[] = {Copy::a, Copy::b};
[[nodiscard]] constexpr char letter(Copy copy) { return copy == Copy::a ? 'A' : 'B'; }
[[nodiscard]] constexpr Copy other(Copy copy) { return copy == Copy::a ? Copy::b : Copy::a; }

// Where things are on a spare.
struct SpareLayout {
  std::uint64_t block_size = kDefaultBlockSize;
  std::uint64_t slots = 0;
  ByteCount device_size;     // used bytes of the device, a multiple of kStructureAlignment
  ByteOffset tags[2];        // start of each copy of the tag table
  ByteOffset first_slot;     // multiple of kSlotAlignment
  ByteOffset superblock[2];  // start of each copy

  // The only layout a device of this size can have; slots is 0 when it is too small for any.
  [[nodiscard]] static SpareLayout of(ByteCount device_size, std::uint64_t block_size);
  // Bytes of one copy of the tag table, a multiple of kStructureAlignment.
  [[nodiscard]] std::uint64_t tag_table_bytes() const;

  friend bool operator==(const SpareLayout&, const SpareLayout&) = default;
};

// How many slots fit on a device, next to two superblocks and two tag tables.
[[nodiscard]] std::uint64_t slots_for(ByteCount device_size, std::uint64_t block_size);

// Number and digest (XOR of row_digest()) of some rows of the map.
struct RowTotals {
  std::uint64_t count = 0;
  std::uint64_t digest = 0;

  void enter(std::uint64_t row_digest) {
    ++count;
    digest ^= row_digest;
  }
  void leave(std::uint64_t row_digest) {
    --count;
    digest ^= row_digest;
  }
  friend bool operator==(const RowTotals&, const RowTotals&) = default;
};

// What a superblock says.
struct Superblock {
  Uuid volume;
  Uuid spare;
  SpareId id = 1;
  SpareLayout layout;
  Sequence watermark;  // every commit up to it is complete on this spare and in the map
  // What lets the map be rebuilt without its file, all of it as of the watermark.
  RowTotals rows;                // of the blocks that live on this spare
  ByteCount volume_size;         // 0 in superblocks from before this was noted
  std::string primary_identity;  // as the map has it; empty when it is longer than kIdentityBytes
  // The map has, or had since it was last opened, sectors that are lost although something can be read in their place.
  // Only the map knows which.
  bool hides_losses = false;
  // The commit after the watermark moves blocks to this spare from others, and may be complete there already: only the
  // map knows where these blocks are.
  bool between_spares = false;
  SpareRoll spares;  // all of the volume, this one too; none in superblocks from before this was noted

  friend bool operator==(const Superblock&, const Superblock&) = default;
};

// `out` has kSuperblockBytes.
// The identity is left out when it does not fit.
void encode_superblock(const Superblock& superblock, std::span<std::byte> out);
// Errors, told apart so that a refusal can be exact: not_found (the bytes are zeros), foreign (no superblock of a
// spare), corrupt (checksum or contents), too_new.
Result<Superblock> decode_superblock(std::span<const std::byte> in);

// What a tag says: the durable owner of a slot, as known to the spare alone.
struct Tag {
  enum class Kind : std::uint8_t {
    never_used,  // zeros
    cleared,     // was used; `sequence` says when it was given up
    used,
    invalid,     // does not verify: damaged, of another spare, or of another slot
    unreadable,  // its sector cannot be read; decode_tag() never says so
  };
  Kind kind = Kind::never_used;
  BlockIndex block;   // used
  Sequence sequence;  // used and cleared
  SectorMask valid_mask = 0;
  SectorMask written_mask = 0;

  static Tag used_by(const RemapRow& row) {
    return {Kind::used, row.block, row.sequence, row.valid_mask, row.written_mask};
  }
  static Tag cleared_at(Sequence sequence) { return {Kind::cleared, BlockIndex(0), sequence, 0, 0}; }

  friend bool operator==(const Tag&, const Tag&) = default;
};

// `out` has kTagBytes. The checksum covers the place, so that a tag copied to another slot or spare never verifies.
void encode_tag(const Tag& tag, const Uuid& spare, SlotIndex slot, std::span<std::byte> out);
[[nodiscard]] Tag decode_tag(std::span<const std::byte> in, const Uuid& spare, SlotIndex slot);

// Where the tag of a slot is, relative to its table.
struct TagPlace {
  std::uint64_t sector;     // of 512 bytes, from the start of the table
  std::uint64_t in_sector;  // bytes
};
[[nodiscard]] constexpr TagPlace tag_place(SlotIndex slot) {
  return {slot.value() / kTagsPerSector, slot.value() % kTagsPerSector * kTagBytes};
}

}  // namespace remapfs::store
