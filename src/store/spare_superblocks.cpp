// SPDX-License-Identifier: Apache-2.0
#include "store/spare_superblocks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "remapfs/aligned_buffer.hpp"

namespace remapfs::store {
namespace {

Result<Superblock> read_superblock(BlockDevice& device, ByteOffset offset) {
  // One logical block, not the whole 4096 bytes: fewer sectors whose failure could matter.
  const std::size_t length = std::max<std::size_t>(kSuperblockBytes, device.geometry().logical_block);
  auto buffer = AlignedBuffer::allocate(length);
  if (!buffer) return fail(std::move(buffer.error()));
  if (auto read = device.read_exact(offset, buffer->span()); !read) return fail(std::move(read.error()));
  return decode_superblock(buffer->first(kSuperblockBytes));
}

Error no_superblock(const SuperblockCopies& copies, const std::string& device) {
  const Errc a = copies[Copy::a].error().code;
  const Errc b = copies[Copy::b].error().code;
  for (const Errc code : {Errc::corrupt, Errc::foreign, Errc::not_found}) {
    if (a != code && b != code) continue;
    if (code == Errc::corrupt) {
      return {code, 0, fmt::format("spare {}, both superblocks are damaged, try `remapfs repair`", device)};
    }
    return {Errc::foreign, 0,
            fmt::format("spare {}, no remapfs spare is there, give the device the map names", device)};
  }
  Error error = copies[Copy::a].error();
  error.message = fmt::format("spare {}, superblocks cannot be read ({}), check the device", device, describe(error));
  return error;
}

}  // namespace

bool SuperblockCopies::both_lost() const {
  return std::all_of(copy.begin(), copy.end(), [](const Result<Superblock>& superblock) {
    return !superblock && (superblock.error().code == Errc::corrupt || superblock.error().code == Errc::foreign ||
                           superblock.error().code == Errc::not_found || is_media_error(superblock.error()));
  });
}

SuperblockCopies read_superblocks(BlockDevice& device, const SpareLayout& expected) {
  SuperblockCopies copies;
  const std::uint64_t size = round_down(device.geometry().size.value(), kStructureAlignment);
  if (size < 2 * kStructureAlignment || device.geometry().logical_block > kStructureAlignment) return copies;
  const ByteOffset end(size - kStructureAlignment);
  copies.copy[0] = read_superblock(device, ByteOffset(0));
  copies.copy[1] = read_superblock(device, std::min(expected.superblock[1], end));
  // Of another volume perhaps, which has to be said.
  if (!copies.copy[1] && expected.superblock[1] != end) copies.copy[1] = read_superblock(device, end);
  return copies;
}

SuperblockCopies read_superblocks(BlockDevice& device) {
  SpareLayout at_the_ends;
  at_the_ends.superblock[1] = ByteOffset(~std::uint64_t{0});
  const SuperblockCopies copies = read_superblocks(device, at_the_ends);
  return copies[Copy::a] ? read_superblocks(device, copies[Copy::a]->layout) : copies;
}

Result<ByteOffset> find_spare(BlockDevice& device, bool disk_before) {
  const std::uint64_t size = round_down(device.geometry().size.value(), kStructureAlignment);
  if (size < 2 * kStructureAlignment || device.geometry().logical_block > kStructureAlignment) {
    if (!disk_before) return ByteOffset(0);
    return fail(Errc::foreign, fmt::format("no spare can be behind a disk there, {}, name the spare", device.name()));
  }
  if (!disk_before && read_superblock(device, ByteOffset(0))) return ByteOffset(0);
  const auto last = read_superblock(device, ByteOffset(size - kStructureAlignment));
  if (last && last->layout.device_size.value() < size) {
    const ByteOffset begin(size - last->layout.device_size.value());
    if (is_aligned(begin.value(), kSlotAlignment)) return begin;
  }
  if (!disk_before) return ByteOffset(0);
  return fail(
      last ? Errc::foreign : last.error().code,
      fmt::format("no superblock at its end says where the spare begins, {}{}, add --reserve with the size that "
                  "the volume was made with",
                  device.name(), last ? "" : " (" + describe(last.error()) + ")"));
}

Result<Superblock> choose_superblock(const SuperblockCopies& copies, const ExpectedSpare& expected,
                                     const std::string& device) {
  const Superblock* best = nullptr;
  const Superblock* other_spare = nullptr;
  for (const Result<Superblock>& copy : copies.copy) {
    if (!copy) {
      if (copy.error().code != Errc::too_new) continue;
      return fail(Errc::too_new, fmt::format("spare {}, made by a newer remapfs, use that version", device));
    }
    if (copy->volume != expected.volume || copy->spare != expected.spare) {
      other_spare = &*copy;
    } else if (best == nullptr || copy->watermark > best->watermark) {
      best = &*copy;
    }
  }
  if (best == nullptr && other_spare == nullptr) return fail(no_superblock(copies, device));
  if (best == nullptr && other_spare->volume != expected.volume) {
    return fail(Errc::foreign,
                fmt::format("spare {}, belongs to another volume ({}), this one is {}; give the device the map names",
                            device, other_spare->volume.to_string(), expected.volume.to_string()));
  }
  if (best == nullptr) {
    return fail(Errc::foreign, fmt::format("spare {}, is another spare of this volume ({}), the map wants {} here",
                                           device, other_spare->spare.to_string(), expected.spare.to_string()));
  }
  if (best->id != expected.id || best->layout != expected.layout) {
    return fail(
        Errc::corrupt,
        fmt::format("spare {}, number, size, block size or slots differ from the map's (spare: {}, {} bytes, {} "
                    "x {}; map: {}, {} bytes, {} x {}), run `remapfs check`",
                    device, best->id, best->layout.device_size.value(), best->layout.slots, best->layout.block_size,
                    expected.id, expected.layout.device_size.value(), expected.layout.slots,
                    expected.layout.block_size));
  }
  return *best;
}

Result<void> compare_watermark(Sequence watermark, Sequence map_sequence, bool map_clean, const std::string& device,
                               const std::string& map_path) {
  if (watermark == map_sequence) return {};
  if (watermark > map_sequence) {
    return fail(
        Errc::stale,
        fmt::format("{}, the map is older than spare {} (map at {}, spare at {}): an earlier copy of the map was "
                    "put back; bring back the latest map",
                    map_path, device, map_sequence.value(), watermark.value()));
  }
  if (!map_clean && watermark + 1 == map_sequence) return {};
  return fail(Errc::stale,
              fmt::format("spare {}, older than the map {} (spare at {}, map at {}): an earlier copy of the "
                          "spare was put back; attach the latest one",
                          device, map_path, watermark.value(), map_sequence.value()));
}

Result<void> compare_roll(const SpareRoll& roll, const SpareRoll::Numbers& known, const std::string& device,
                          const std::string& map_path) {
  for (std::size_t id = 1; id < known.size(); ++id) {
    if (!roll.numbers[id] || known[id]) continue;
    return fail(Errc::stale,
                fmt::format("{}, the map is older than spare {}, which knows of a spare {}: an earlier copy of the map "
                            "was put back; bring back the latest map",
                            map_path, device, id));
  }
  return {};
}

Result<SuperblockWrite> write_superblocks(BlockDevice& device, const Superblock& superblock) {
  auto buffer = AlignedBuffer::allocate(kStructureAlignment);
  if (!buffer) return fail(std::move(buffer.error()));
  encode_superblock(superblock, buffer->first(kSuperblockBytes));
  SuperblockWrite result;
  for (std::size_t i = 0; i < 2; ++i) {
    result.copy[i] = device.write_all(superblock.layout.superblock[i], buffer->span());
  }
  return result;
}

}  // namespace remapfs::store
