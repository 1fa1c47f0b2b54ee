// SPDX-License-Identifier: Apache-2.0
#include "store/tag_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "store/spare_superblocks.hpp"

namespace remapfs::store {
namespace {

constexpr std::uint64_t kTransferBytes = std::uint64_t{1} << 20U;

std::size_t index(Copy copy) { return static_cast<std::size_t>(copy); }

}  // namespace

TagTable::TagTable(BlockDevice& device, const SpareLayout& layout, const Uuid& spare)
    : device_(device),
      layout_(layout),
      spare_(spare),
      block_bytes_(std::max<std::uint64_t>(device.geometry().logical_block, kSectorSize)) {
  REMAPFS_INVARIANT(block_bytes_ <= kStructureAlignment);
}

ByteOffset TagTable::block_offset(Copy copy, std::uint64_t block) const {
  return layout_.tags[index(copy)] + block * block_bytes_;
}

Result<TagTable::Outcome> TagTable::update(std::vector<Update> updates) {
  Outcome outcome;
  // Stable, so that the last of several updates of one slot is applied last.
  std::stable_sort(updates.begin(), updates.end(), [](const Update& l, const Update& r) { return l.slot < r.slot; });
  const std::uint64_t most_blocks = kTransferBytes / block_bytes_;
  for (std::size_t i = 0; i < updates.size();) {
    Extent extent;
    extent.first_block = updates[i].slot.value() / slots_per_block();
    std::uint64_t last_block = extent.first_block;
    for (; i < updates.size(); ++i) {
      REMAPFS_INVARIANT(updates[i].slot.value() < layout_.slots);
      const std::uint64_t block = updates[i].slot.value() / slots_per_block();
      if (block > last_block + 1 || block >= extent.first_block + most_blocks) break;
      last_block = block;
      extent.updates.push_back(updates[i]);
    }
    if (auto done = process(extent, last_block - extent.first_block + 1, outcome); !done) {
      return fail(std::move(done.error()));
    }
  }
  return outcome;
}

Result<void> TagTable::process(Extent& extent, std::uint64_t blocks, Outcome& outcome) {
  auto image = AlignedBuffer::allocate(blocks * block_bytes_);
  if (!image) return fail(std::move(image.error()));
  extent.image = std::move(*image);
  auto read = device_.read_exact(block_offset(Copy::a, extent.first_block), extent.image.span());
  if (!read && !is_media_error(read.error())) return read;
  for (std::uint64_t block = extent.first_block; block < extent.first_block + blocks; ++block) {
    if (auto filled = fill_block(extent, block, read.has_value()); !filled) return filled;
  }
  for (const Update& update : extent.updates) {
    const TagPlace place = tag_place(update.slot);
    const std::uint64_t at = place.sector * kSectorSize - extent.first_block * block_bytes_ + place.in_sector;
    encode_tag(update.tag, spare_, update.slot, extent.image.subspan(at, kTagBytes));
  }
  std::array<std::set<std::uint64_t>, 2> failed;
  for (const Copy copy : kCopies) {
    if (auto written = write_copy(extent, blocks, copy, failed[index(copy)], outcome); !written) return written;
  }
  for (std::uint64_t block = extent.first_block; block < extent.first_block + blocks; ++block) {
    if (extent.lost.contains(block)) continue;
    if (failed[0].contains(block) && failed[1].contains(block)) {
      const auto bytes = extent.image.subspan((block - extent.first_block) * block_bytes_, block_bytes_);
      untaken_[block].assign(bytes.begin(), bytes.end());
    } else {
      untaken_.erase(block);
    }
  }
  for (const Update& update : extent.updates) {
    const std::uint64_t block = update.slot.value() / slots_per_block();
    const bool nowhere = extent.lost.contains(block) || (failed[0].contains(block) && failed[1].contains(block));
    if (nowhere && (outcome.bad.empty() || outcome.bad.back() != update.slot)) outcome.bad.push_back(update.slot);
  }
  return {};
}

// Makes the part of the image that holds `block` what the spare should hold before the update.
Result<void> TagTable::fill_block(Extent& extent, std::uint64_t block, bool a_was_read) {
  const std::span<std::byte> bytes = extent.image.subspan((block - extent.first_block) * block_bytes_, block_bytes_);
  // Nothing of the old content is needed: a block that can no longer be read may still be cured by writing it.
  if (covers_block(extent, block)) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    return {};
  }
  if (const auto untaken = untaken_.find(block); untaken != untaken_.end()) {
    std::copy(untaken->second.begin(), untaken->second.end(), bytes.begin());
    return {};
  }
  bool have_a = !distrusted_[index(Copy::a)].contains(block);
  if (have_a && !a_was_read) {
    auto read = device_.read_exact(block_offset(Copy::a, block), bytes);
    if (!read && !is_media_error(read.error())) return read;
    have_a = read.has_value();
  }
  if (have_a && all_verify(bytes, block)) return {};

  auto copy_b = AlignedBuffer::allocate(block_bytes_);
  if (!copy_b) return fail(std::move(copy_b.error()));
  bool have_b = !distrusted_[index(Copy::b)].contains(block);
  if (have_b) {
    auto read = device_.read_exact(block_offset(Copy::b, block), copy_b->span());
    if (!read && !is_media_error(read.error())) return read;
    have_b = read.has_value();
  }
  if (have_a && have_b) {
    merge_from(bytes, copy_b->span(), block);
  } else if (have_b) {
    std::copy_n(copy_b->data(), block_bytes_, bytes.data());
  } else if (!have_a) {
    extent.lost.insert(block);
  }
  return {};
}

Result<void> TagTable::write_copy(const Extent& extent, std::uint64_t blocks, Copy copy,
                                  std::set<std::uint64_t>& failed, Outcome& outcome) {
  const std::uint64_t end = extent.first_block + blocks;
  const auto part = [&](std::uint64_t from, std::uint64_t to) {
    return extent.image.span().subspan((from - extent.first_block) * block_bytes_, (to - from) * block_bytes_);
  };
  const auto written_well = [&](std::uint64_t from, std::uint64_t to) {
    auto& distrusted = distrusted_[index(copy)];
    distrusted.erase(distrusted.lower_bound(from), distrusted.lower_bound(to));
  };
  for (std::uint64_t from = extent.first_block; from < end;) {
    if (extent.lost.contains(from)) {
      ++from;
      continue;
    }
    const auto next_lost = extent.lost.lower_bound(from);
    const std::uint64_t to = next_lost == extent.lost.end() ? end : *next_lost;
    auto written = device_.write_all(block_offset(copy, from), part(from, to));
    if (written) {
      written_well(from, to);
    } else if (!is_media_error(written.error())) {
      return written;
    } else {
      for (std::uint64_t block = from; block < to; ++block) {
        auto single = device_.write_all(block_offset(copy, block), part(block, block + 1));
        if (single) {
          written_well(block, block + 1);
        } else if (is_media_error(single.error())) {
          failed.insert(block);
          write_failed(copy, block, single.error(), outcome);
        } else {
          return single;
        }
      }
    }
    from = to;
  }
  return {};
}

void TagTable::write_failed(Copy copy, std::uint64_t block, const Error& error, Outcome& outcome) {
  if (!distrusted_[index(copy)].insert(block).second) return;
  outcome.notes.push_back(fmt::format("spare {}: tag table {} cannot be written at byte {} ({})", device_.name(),
                                      letter(copy), block_offset(copy, block).value(), describe(error)));
}

// True when the updates of the extent replace every tag of the block.
bool TagTable::covers_block(const Extent& extent, std::uint64_t block) const {
  const std::uint64_t first = block * slots_per_block();
  const std::uint64_t end = std::min(first + slots_per_block(), layout_.slots);
  std::uint64_t expected = first;
  const auto begin = std::lower_bound(extent.updates.begin(), extent.updates.end(), first,
                                      [](const Update& u, std::uint64_t slot) { return u.slot.value() < slot; });
  for (auto it = begin; it != extent.updates.end() && it->slot.value() < end; ++it) {
    if (it->slot.value() == expected) ++expected;  // repeated slots are passed over
  }
  return expected == end;
}

bool TagTable::all_verify(std::span<const std::byte> bytes, std::uint64_t block) const {
  const std::uint64_t first = block * slots_per_block();
  const std::uint64_t end = std::min(first + slots_per_block(), layout_.slots);
  for (std::uint64_t slot = first; slot < end; ++slot) {
    const TagPlace place = tag_place(SlotIndex(slot));
    const std::uint64_t at = place.sector * kSectorSize - block * block_bytes_ + place.in_sector;
    if (decode_tag(bytes.subspan(at, kTagBytes), spare_, SlotIndex(slot)).kind == Tag::Kind::invalid) return false;
  }
  return true;
}

// Replaces the tags of `into` that do not verify by those of `from` that do.
void TagTable::merge_from(std::span<std::byte> into, std::span<const std::byte> from, std::uint64_t block) const {
  const std::uint64_t first = block * slots_per_block();
  const std::uint64_t end = std::min(first + slots_per_block(), layout_.slots);
  for (std::uint64_t slot = first; slot < end; ++slot) {
    const TagPlace place = tag_place(SlotIndex(slot));
    const std::uint64_t at = place.sector * kSectorSize - block * block_bytes_ + place.in_sector;
    const auto verifies = [&](std::span<const std::byte> bytes) {
      return decode_tag(bytes.subspan(at, kTagBytes), spare_, SlotIndex(slot)).kind != Tag::Kind::invalid;
    };
    if (!verifies(into) && verifies(from)) std::copy_n(from.data() + at, kTagBytes, into.data() + at);
  }
}

Result<void> TagReader::load(std::uint64_t sector) {
  if (buffer_.empty()) {
    auto buffer = AlignedBuffer::allocate(std::min(kTransferBytes, table_.layout().tag_table_bytes()));
    if (!buffer) return fail(std::move(buffer.error()));
    buffer_ = std::move(*buffer);
  }
  first_sector_ = end_sector_ = 0;
  unreadable_.clear();
  const std::uint64_t begin = round_down(sector * kSectorSize, kTransferBytes);
  const std::uint64_t length = std::min<std::uint64_t>(buffer_.size(), table_.layout().tag_table_bytes() - begin);
  const ByteOffset offset = table_.layout().tags[static_cast<std::size_t>(copy_)] + begin;
  BlockDevice& device = table_.device();
  auto read = device.read_exact(offset, buffer_.first(length));
  if (!read && !is_media_error(read.error())) return read;
  for (std::uint64_t at = 0; !read && at < length; at += table_.block_bytes()) {
    auto single = device.read_exact(offset + at, buffer_.subspan(at, table_.block_bytes()));
    if (!single && !is_media_error(single.error())) return single;
    if (!single) unreadable_.insert(at / table_.block_bytes());
  }
  first_sector_ = begin / kSectorSize;
  end_sector_ = (begin + length) / kSectorSize;
  return {};
}

}  // namespace remapfs::store
