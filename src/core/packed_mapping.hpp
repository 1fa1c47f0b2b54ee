// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "remapfs/error.hpp"
#include "remapfs/remap_table.hpp"

namespace remapfs {

// A slot's address in bits 8-63 of a word: 8-15 spare, 16-63 slot. The rest is 0.
[[nodiscard]] constexpr std::uint64_t pack_address(SlotAddress where) {
  return std::uint64_t{where.spare} << 8U | where.slot.value() << 16U;
}
// The other bits of the word do not matter.
[[nodiscard]] constexpr SlotAddress unpack_address(std::uint64_t word) {
  return {static_cast<SpareId>(word >> 8U), SlotIndex(word >> 16U)};
}

// A Mapping in one word, so that readers see it change at once. Never 0 for a mapping; 0 stands for "no entry".
//
// Bits 0-1 state, 2-3 kind of the mask, 4 always set, 8-63 address of the slot. A mask that is neither full nor empty
// does not fit and is kept beside the word.
class PackedMapping {
 public:
  constexpr explicit PackedMapping(std::uint64_t word) : word_(word) {}
  PackedMapping(const Mapping& mapping, SectorMask full_mask)
      : word_(static_cast<std::uint64_t>(mapping.state) | kind_of(mapping.valid_mask, full_mask) << kMaskShift |
              kPresent | pack_address(mapping.where)) {
    REMAPFS_INVARIANT(mapping.where.slot.value() < kMaxSlotsPerSpare);
    REMAPFS_INVARIANT((mapping.valid_mask & ~full_mask) == 0);
  }

  [[nodiscard]] constexpr std::uint64_t word() const { return word_; }
  [[nodiscard]] constexpr bool present() const { return word_ != 0; }
  [[nodiscard]] constexpr EntryState state() const { return static_cast<EntryState>(word_ & 3U); }
  [[nodiscard]] constexpr bool mask_is_full() const { return mask_kind() == kFull; }
  [[nodiscard]] constexpr bool mask_is_partial() const { return mask_kind() == kPartial; }
  [[nodiscard]] constexpr SlotAddress where() const { return unpack_address(word_); }

  // The word of a block all of which can be read in a slot.
  [[nodiscard]] static constexpr std::uint64_t whole_in_slot(SlotAddress where) {
    return static_cast<std::uint64_t>(EntryState::remapped) | kFull << kMaskShift | kPresent | pack_address(where);
  }

  // `partial_mask` is used when mask_is_partial().
  [[nodiscard]] constexpr Mapping unpack(SectorMask full_mask, SectorMask partial_mask) const {
    return {state(), where(), mask_is_full() ? full_mask : mask_is_partial() ? partial_mask : 0};
  }

  // How the block is served.
  [[nodiscard]] constexpr RunKind run_kind() const {
    if (!present() || state() == EntryState::weak) return RunKind::primary;
    return state() == EntryState::remapped && mask_is_full() ? RunKind::slot : RunKind::attention;
  }

 private:
  static constexpr unsigned kMaskShift = 2;
  static constexpr std::uint64_t kPresent = 1U << 4U;
  static constexpr std::uint64_t kEmpty = 0;
  static constexpr std::uint64_t kFull = 1;
  static constexpr std::uint64_t kPartial = 2;

  [[nodiscard]] static constexpr std::uint64_t kind_of(SectorMask mask, SectorMask full_mask) {
    return mask == full_mask ? kFull : mask == 0 ? kEmpty : kPartial;
  }
  [[nodiscard]] constexpr std::uint64_t mask_kind() const { return (word_ >> kMaskShift) & 3U; }

  std::uint64_t word_;
};

}  // namespace remapfs
