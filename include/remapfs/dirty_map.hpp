// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Which parts of a disk have changed since somebody copied them: one bit for each granule, a block or, on a disk of
// more than kMostGranules of them, a power of two of blocks. 32 MiB of memory at most.
//
// A change is marked after it was made; who copies takes a stretch, which makes it clean, and reads it then. So a
// change is either read or marks what was taken before. Threads: mark() and left() from any number; take() from one at
// a time.
class DirtyMap {
 public:
  static constexpr std::uint64_t kMostGranules = std::uint64_t{1} << 28U;

  // Everything is dirty. size: of the disk, above 0. most_granules: above 0. Errors: no_memory.
  [[nodiscard]] static Result<std::unique_ptr<DirtyMap>> create(ByteCount size, const BlockGeometry& geometry,
                                                                std::uint64_t most_granules = kMostGranules);

  // Cost: one atomic operation for each 64 granules.
  void mark(ByteRange range);
  // The first dirty stretch at or behind `from`, cut off after `most` bytes but not inside a granule; clean from then
  // on. Nothing: there is none up to the end of the disk.
  [[nodiscard]] std::optional<ByteRange> take(ByteOffset from, std::uint64_t most);
  // `at`, or where the next granule begins.
  [[nodiscard]] ByteOffset granule_from(ByteOffset at) const {
    return ByteOffset(round_up(at.value(), std::uint64_t{1} << shift_));
  }
  // Dirty bytes, counting granules as a whole.
  [[nodiscard]] ByteCount left() const { return ByteCount(dirty_.load(std::memory_order_relaxed) << shift_); }

 private:
  using Word = std::atomic<std::uint64_t>;
  static constexpr std::uint64_t kBits = 64;

  DirtyMap(ByteCount size, unsigned shift, std::unique_ptr<Word[]> words)
      : size_(size), shift_(shift), words_(std::move(words)) {}
  [[nodiscard]] std::uint64_t granules() const { return ((size_.value() - 1) >> shift_) + 1; }
  // The first granule in [from, end) whose bit is `set`; end when there is none.
  [[nodiscard]] std::uint64_t find(std::uint64_t from, std::uint64_t end, bool set) const;
  // Calls visit(word, mask) for the bits of [begin, end).
  template <class Visit>
  void for_each_word(std::uint64_t begin, std::uint64_t end, Visit&& visit);

  const ByteCount size_;
  const unsigned shift_;
  const std::unique_ptr<Word[]> words_;
  std::atomic<std::uint64_t> dirty_{0};  // granules
};

}  // namespace remapfs
