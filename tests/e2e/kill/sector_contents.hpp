// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "remapfs/units.hpp"

namespace remapfs::testing {

// Which write put a sector's bytes there.
struct SectorName {
  std::uint64_t volume = 0;  // tells apart volumes of one test
  std::uint64_t thread = 0;
  std::uint64_t sector = 0;  // of the virtual disk
  std::uint64_t generation = 0;

  friend bool operator==(const SectorName&, const SectorName&) = default;
};

using SectorBytes = std::span<std::byte, kSectorSize>;
using ConstSectorBytes = std::span<const std::byte, kSectorSize>;

// Fills a sector so that every byte of it depends on the name.
void write_contents(const SectorName& name, SectorBytes out);

struct AllZeros {};
struct Damaged {};  // neither zeros nor, as a whole, what any name stands for
// What the bytes of a sector say of themselves.
[[nodiscard]] std::variant<SectorName, AllZeros, Damaged> read_contents(ConstSectorBytes bytes);

}  // namespace remapfs::testing
