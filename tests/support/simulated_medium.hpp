// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "remapfs/units.hpp"

namespace remapfs::testing {

// The bytes of a simulated disk with a volatile write cache. Sparse: only what was written takes memory.
//
// Each sector remembers what it held when it was last made durable, and up to kVersionsKept - 1 later contents; a
// crash leaves each unsynced sector at any one of them, independently of all others.
// Units: bytes; write(), zero() and punch() take whole sectors.
// Threads: one at a time; FakeDisk serialises.
class SimulatedMedium {
 public:
  explicit SimulatedMedium(ByteCount size);

  void read(ByteOffset offset, std::span<std::byte> out) const;
  // What a crash that drops everything unsynced would leave.
  void read_durable(ByteOffset offset, std::span<std::byte> out) const;

  void write(ByteOffset offset, std::span<const std::byte> data);
  void zero(ByteRange range);
  // zero() that also gives whole chunks back.
  void punch(ByteRange range);
  // Changes bytes, on any grid, as if they had always been there: seen now and durable.
  void poke(ByteOffset offset, std::span<const std::byte> data);

  // Everything written so far becomes durable, except sectors in doubt.
  void sync();
  // A sync failed: whether what it should have covered is durable stays open until it is written and synced again.
  void doubt_unsynced();

  // Keeps a random choice of the unsynced sector writes.
  void crash(std::uint64_t seed);
  // Drops all unsynced sector writes.
  void crash_all_lost();
  [[nodiscard]] std::uint64_t unsynced_sectors() const { return unsynced_.size(); }

  // First byte at or after `from` in a chunk that is / is not allocated; nothing when there is none.
  [[nodiscard]] std::optional<ByteOffset> next_data(ByteOffset from) const;
  [[nodiscard]] std::optional<ByteOffset> next_hole(ByteOffset from) const;

  // Unit of allocation.
  static constexpr std::uint64_t kChunkSize = 65536;

 private:
  using Sector = std::array<std::byte, kSectorSize>;
  using Chunk = std::array<std::byte, kChunkSize>;
  struct Unsynced {
    std::vector<Sector> versions;  // front: durable; then older contents; the current one is in the chunk
    bool in_doubt = false;
  };
  static constexpr std::size_t kVersionsKept = 6;

  std::byte* place_for(std::uint64_t offset);
  [[nodiscard]] const std::byte* find(std::uint64_t offset) const;
  void remember(std::uint64_t sector);
  void restore(std::uint64_t sector, const Sector& content);

  std::uint64_t size_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Chunk>> chunks_;
  std::unordered_map<std::uint64_t, Unsynced> unsynced_;
};

}  // namespace remapfs::testing
