// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "remapfs/aligned_buffer.hpp"
#include "remapfs/block_device.hpp"
#include "store/spare_format.hpp"

namespace remapfs::store {

// The two tag tables of one spare.
//
// Reads and writes whole logical blocks. A copy that fails with a media error is tolerated as long as the other one
// works; such a block of that copy is not believed again before a write to it has succeeded. What neither took is
// remembered: a device that was away is written again as it should be.
// Threads: one at a time.
class TagTable {
 public:
  struct Update {
    SlotIndex slot;
    Tag tag;
  };
  // What an update() has to report.
  struct Outcome {
    std::vector<SlotIndex> bad;      // neither copy holds the new tag; ascending
    std::vector<std::string> notes;  // a line for each place where one copy began to fail
  };

  // device: must outlive the table.
  TagTable(BlockDevice& device, const SpareLayout& layout, const Uuid& spare);

  // Writes tags to both copies, not durably yet. Of several updates of one slot the last one counts.
  // Errors: no_memory, device errors that are not media errors; any of the tags may then be old or new.
  // Cost: neighbouring blocks are read once and written once per copy.
  Result<Outcome> update(std::vector<Update> updates);

  // False while some block of a copy holds something else than was written to it.
  [[nodiscard]] bool both_copies_good() const { return distrusted_[0].empty() && distrusted_[1].empty(); }

  [[nodiscard]] const SpareLayout& layout() const { return layout_; }
  [[nodiscard]] const Uuid& spare() const { return spare_; }
  [[nodiscard]] BlockDevice& device() const { return device_; }
  // The slots whose tags share one logical block.
  [[nodiscard]] std::uint64_t slots_per_block() const { return block_bytes_ / kSectorSize * kTagsPerSector; }
  [[nodiscard]] std::uint64_t block_bytes() const { return block_bytes_; }

 private:
  // Blocks of the table that are written together; `image` is what both copies are to hold.
  struct Extent {
    std::uint64_t first_block = 0;
    std::vector<Update> updates;
    AlignedBuffer image;
    std::set<std::uint64_t> lost;  // blocks that could not be read from either copy
  };

  Result<void> process(Extent& extent, std::uint64_t blocks, Outcome& outcome);
  Result<void> fill_block(Extent& extent, std::uint64_t block, bool a_was_read);
  Result<void> write_copy(const Extent& extent, std::uint64_t blocks, Copy copy, std::set<std::uint64_t>& failed,
                          Outcome& outcome);
  void write_failed(Copy copy, std::uint64_t block, const Error& error, Outcome& outcome);
  [[nodiscard]] ByteOffset block_offset(Copy copy, std::uint64_t block) const;
  [[nodiscard]] bool covers_block(const Extent& extent, std::uint64_t block) const;
  [[nodiscard]] bool all_verify(std::span<const std::byte> bytes, std::uint64_t block) const;
  void merge_from(std::span<std::byte> into, std::span<const std::byte> from, std::uint64_t block) const;

  BlockDevice& device_;
  const SpareLayout layout_;
  const Uuid spare_;
  const std::uint64_t block_bytes_;
  std::array<std::set<std::uint64_t>, 2> distrusted_;        // block numbers within the table
  std::map<std::uint64_t, std::vector<std::byte>> untaken_;  // what a block is to hold that is in both of these
};

// Reads the tags of one copy in ascending order, a mebibyte at a time.
class TagReader {
 public:
  // table: must outlive the reader.
  TagReader(const TagTable& table, Copy copy) : table_(table), copy_(copy) {}

  // The tag of a slot; of kind `unreadable` where the sector cannot be read. Cheap for neighbours.
  // Errors: no_memory, device errors that are not media errors.
  Result<Tag> at(SlotIndex slot) {
    const TagPlace place = tag_place(slot);
    if (place.sector < first_sector_ || place.sector >= end_sector_) {
      if (auto read = load(place.sector); !read) return fail(std::move(read.error()));
    }
    const std::uint64_t in_buffer = (place.sector - first_sector_) * kSectorSize;
    if (!unreadable_.empty() && unreadable_.contains(in_buffer / table_.block_bytes())) {
      return Tag{Tag::Kind::unreadable, {}, {}, 0, 0};
    }
    return decode_tag(buffer_.subspan(in_buffer + place.in_sector, kTagBytes), table_.spare(), slot);
  }

 private:
  Result<void> load(std::uint64_t sector);

  const TagTable& table_;
  const Copy copy_;
  AlignedBuffer buffer_;
  std::uint64_t first_sector_ = 0;
  std::uint64_t end_sector_ = 0;
  std::set<std::uint64_t> unreadable_;  // logical blocks, from the start of the buffer
};

}  // namespace remapfs::store
