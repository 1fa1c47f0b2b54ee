// SPDX-License-Identifier: Apache-2.0
// Superblocks and tags of a spare: what is accepted is what would have been written, bit for bit.
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fuzz/fuzz_input.hpp"
#include "store/little_endian.hpp"
#include "store/spare_format.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  std::array<std::byte, store::kSuperblockBytes> bytes{};
  if (size > 0) std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  // Mostly with the checksum that belongs to them.
  if (size > 0 && data[size - 1] % 4 != 0) {
    constexpr std::size_t kChecksumAt = store::kSuperblockBytes - sizeof(std::uint64_t);
    store::ByteWriter(std::span(bytes).subspan(kChecksumAt)).u64(XXH3_64bits(bytes.data(), kChecksumAt));
  }
  std::array<std::byte, store::kSuperblockBytes> written{};
  if (const auto superblock = store::decode_superblock(bytes)) {
    store::encode_superblock(*superblock, written);
    REMAPFS_INVARIANT(written == bytes);
  }
  // Damage to a good one is seen, whatever it is.
  store::Superblock good;
  good.layout = store::SpareLayout::of(ByteCount(8 << 20), 4096);
  store::encode_superblock(good, written);
  auto damaged = written;
  fuzz::Input input(data, size);
  while (!input.empty()) damaged[input.number(2) % damaged.size()] ^= static_cast<std::byte>(input.number(1));
  REMAPFS_INVARIANT(damaged == written || !store::decode_superblock(damaged));

  const std::span<const std::byte> tag_bytes = std::span(bytes).first(store::kTagBytes);
  const store::Tag tag = store::decode_tag(tag_bytes, {}, SlotIndex(7));
  if (tag.kind == store::Tag::Kind::used || tag.kind == store::Tag::Kind::cleared) {
    std::array<std::byte, store::kTagBytes> again{};
    store::encode_tag(tag, {}, SlotIndex(7), again);
    REMAPFS_INVARIANT(std::equal(again.begin(), again.end(), tag_bytes.begin()));
  }
  return 0;
}
