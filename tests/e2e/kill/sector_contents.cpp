// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/sector_contents.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "support/random.hpp"

namespace remapfs::testing {
namespace {

struct Header {
  std::uint64_t magic;
  SectorName name;
};
static_assert(sizeof(Header) == 40);
constexpr std::uint64_t kMagic = 0x524F544345534D52U;

std::uint64_t seed_of(const SectorName& name) {
  std::uint64_t seed = name.volume;
  for (const std::uint64_t part : {name.thread, name.sector, name.generation}) seed = Random(seed ^ part)();
  return seed;
}

}  // namespace

void write_contents(const SectorName& name, SectorBytes out) {
  const Header header{kMagic, name};
  std::memcpy(out.data(), &header, sizeof header);
  Random(seed_of(name)).fill(out.subspan(sizeof header));
}

std::variant<SectorName, AllZeros, Damaged> read_contents(ConstSectorBytes bytes) {
  Header header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic == kMagic) {
    std::array<std::byte, kSectorSize> expected;
    write_contents(header.name, expected);
    if (std::equal(expected.begin(), expected.end(), bytes.begin())) return header.name;
  } else if (std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; })) {
    return AllZeros{};
  }
  return Damaged{};
}

}  // namespace remapfs::testing
