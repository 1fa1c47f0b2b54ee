// SPDX-License-Identifier: Apache-2.0
// Spares whose every structure has its right checksum and says what the input wants: whatever two of them say without
// a map is refused, doubted, or leads to rows that a map can have.
#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"
#include "store/recover.hpp"
#include "store/row_codec.hpp"
#include "store/spare_format.hpp"
#include "store/surviving_tags.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace remapfs;
using store::Superblock;
using store::Tag;

constexpr std::uint64_t kBlockSize = 4096;
constexpr ByteCount kSpareSize(3 << 20);
constexpr ByteCount kVolumeSize(1 << 20);
constexpr std::uint64_t kSlots = 8;  // that are used
constexpr std::size_t kTable = 4096;

// Numbers of commits around the watermark, which is 10 mostly, and the largest there are.
Sequence sequence(fuzz::Input& input) {
  const std::uint64_t chosen = input.number(1);
  return chosen < 250 ? Sequence(chosen % 14) : Sequence(~std::uint64_t{0} - (chosen - 250));
}

Tag tag(fuzz::Input& input) {
  const std::uint64_t kind = input.number(1) % 4;
  if (kind == 0) return {};
  if (kind == 1) return Tag::cleared_at(sequence(input));
  Tag made;
  made.kind = Tag::Kind::used;
  // Of the volume, mostly.
  made.block = BlockIndex(kind == 2 ? input.number(1) : input.number(8) >> 1U);
  made.sequence = sequence(input);
  made.valid_mask = kind == 2 ? 0xFF : input.number(8);
  made.written_mask = kind == 2 ? 0xFF : input.number(8);
  return made;
}

struct Image {
  std::unique_ptr<testing::FakeDisk> disk = testing::FakeDisk::with_logical_block(kSpareSize, 512);
  Superblock superblock;

  Image(fuzz::Input& input, SpareId id) {
    superblock.id = id;
    superblock.spare.bytes[0] = static_cast<std::byte>(id);
    superblock.layout = store::SpareLayout::of(kSpareSize, kBlockSize);
    superblock.volume_size = kVolumeSize;
    superblock.watermark = Sequence(10);
    superblock.primary_identity = "size=1048576";
    std::array<std::vector<std::byte>, 2> tables{std::vector<std::byte>(kTable), std::vector<std::byte>(kTable)};
    std::map<BlockIndex, RemapRow> rows;
    for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
      const std::uint64_t how = input.number(1);
      const Tag a = tag(input);
      put(tables[0], slot, a);
      put(tables[1], slot, how % 4 == 0 ? tag(input) : a);
      if (how % 16 == 1) tables[how / 16 % 2][slot * store::kTagBytes] ^= std::byte{1};
      if (a.kind == Tag::Kind::used) rows[a.block] = row_of(a, slot);
    }
    // What it vouches for: its tags, as it should, or something else.
    if (input.number(1) % 4 != 0) {
      for (const auto& [block, row] : rows) superblock.rows.enter(store::row_digest(row));
    } else {
      superblock.rows = {input.number(1), input.number(8)};
    }
    std::array<Superblock, 2> copies{superblock, superblock};
    while (input.number(1) % 3 == 1) change(copies[input.number(1) % 2], input);
    for (const store::Copy copy : store::kCopies) {
      const auto i = static_cast<std::size_t>(copy);
      std::array<std::byte, store::kSuperblockBytes> bytes{};
      store::encode_superblock(copies[i], bytes);
      disk->poke(superblock.layout.superblock[i], bytes);
      disk->poke(superblock.layout.tags[i], tables[i]);
      const std::uint64_t fault = input.number(1);
      const std::uint64_t sector =
          (fault % 2 == 0 ? superblock.layout.superblock[i] : superblock.layout.tags[i]).value() / kSectorSize;
      if (fault % 8 > 5) disk->add_bad_sectors(sector, 1);
    }
  }

 private:
  void put(std::vector<std::byte>& table, std::uint64_t slot, const Tag& what) const {
    store::encode_tag(what, superblock.spare, SlotIndex(slot),
                      std::span(table).subspan(slot * store::kTagBytes, store::kTagBytes));
  }
  [[nodiscard]] RemapRow row_of(const Tag& from, std::uint64_t slot) const {
    RemapRow row;
    row.block = from.block;
    row.state = EntryState::remapped;
    row.where = {superblock.id, SlotIndex(slot)};
    row.valid_mask = from.valid_mask;
    row.written_mask = from.written_mask;
    row.sequence = from.sequence;
    row.cause = Cause::recovered;
    return row;
  }
  static void change(Superblock& what, fuzz::Input& input) {
    switch (input.number(1) % 9) {
      case 0: what.watermark = sequence(input); break;
      case 1: what.volume_size = ByteCount(input.number(8)); break;
      case 2: what.hides_losses = true; break;
      case 3: what.between_spares = true; break;
      case 4: what.spares.numbers.set(input.number(1)); break;
      case 5: what.spares.digest = input.number(8); break;
      case 6: what.id = static_cast<SpareId>(input.number(1)); break;
      case 7: what.primary_identity.assign(input.number(2) % 300, static_cast<char>(input.number(1))); break;
      default: what.volume.bytes[0] = static_cast<std::byte>(input.number(1)); break;
    }
  }
};

void look_at(testing::FakeDisk& disk) {
  const auto survivors = store::read_surviving_tags(disk);
  if (!survivors) {
    REMAPFS_INVARIANT(!survivors.error().message.empty());
    return;
  }
  std::set<std::uint64_t> slots;
  store::RowTotals totals;
  for (std::size_t i = 0; i < survivors->rows.size(); ++i) {
    const RemapRow& row = survivors->rows[i];
    REMAPFS_INVARIANT(i == 0 || survivors->rows[i - 1].block < row.block);
    REMAPFS_INVARIANT(row.where.spare == survivors->superblock.id);
    REMAPFS_INVARIANT(slots.insert(row.where.slot.value()).second);
    REMAPFS_INVARIANT(row.sequence <= survivors->superblock.watermark);
    totals.enter(store::row_digest(row));
  }
  for (const RemapRow& row : survivors->cut_off) REMAPFS_INVARIANT(row.valid_mask == 0);
  REMAPFS_INVARIANT(!survivors->proven || totals == survivors->superblock.rows);
  REMAPFS_INVARIANT(survivors->proven || !survivors->doubts.empty());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing::TempDir folder("/dev/shm");
  fuzz::Input input(data, size);
  const std::uint64_t how = input.number(1);
  std::vector<Image> images;
  for (SpareId id = 1; id <= 1 + how % 2; ++id) images.emplace_back(input, id);
  store::RecoverySpec spec;
  spec.map_path = folder / "map";
  spec.primary_path = "/primary";
  spec.primary_size = kVolumeSize;
  spec.accept_stale = how / 2 % 2 == 1;
  spec.check_primary = [](const std::string&) -> Result<void> { return {}; };
  for (Image& image : images) {
    look_at(*image.disk);
    spec.spares.push_back({image.disk.get(), "/spare" + std::to_string(image.superblock.id), ""});
  }
  const auto recovered = store::recover_map(spec);
  if (recovered) {
    REMAPFS_INVARIANT(recovered->proven || (spec.accept_stale && !recovered->doubts.empty()));
    REMAPFS_INVARIANT(recovered->info.size.value() <= kVolumeSize.value());
  } else {
    REMAPFS_INVARIANT(!recovered.error().error.message.empty());
  }
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(folder / (std::string("map") + suffix));
  return 0;
}
