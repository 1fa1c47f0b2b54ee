// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/block_map.hpp"
#include "core/packed_mapping.hpp"

namespace remapfs {

// The run of a window: of 16 aligned blocks some neighbours whose data lies whole in neighbouring slots of one spare,
// in one word. Blocks are given by their number on the disk; the window is the one they are in.
//
// Bits 0-3 first block of the run within the window, 4-7 its length less one, 8-63 address of its first slot. 0 stands
// for a window without a run.
class WindowRun {
 public:
  static constexpr unsigned kWindow = 16;
  // Shorter runs are not kept: each takes as much memory as an entry.
  static constexpr unsigned kShortest = 6;

  constexpr explicit WindowRun(std::uint64_t word) : word_(word) {}
  // Blocks [begin, end) of one window; where: the slot of `begin`. Not shorter than kShortest.
  constexpr WindowRun(std::uint64_t begin, std::uint64_t end, SlotAddress where)
      : word_(begin % kWindow | (end - begin - 1) << kLengthShift | pack_address(where)) {}

  [[nodiscard]] constexpr std::uint64_t word() const { return word_; }
  [[nodiscard]] constexpr bool empty() const { return word_ == 0; }
  // Of the window that `block` is in: the run is [begin, end).
  [[nodiscard]] constexpr std::uint64_t begin(std::uint64_t block) const {
    return round_down(block, kWindow) + word_ % kWindow;
  }
  [[nodiscard]] constexpr std::uint64_t end(std::uint64_t block) const {
    return begin(block) + ((word_ >> kLengthShift) % kWindow) + 1;
  }
  [[nodiscard]] constexpr bool contains(std::uint64_t block) const {
    const std::uint64_t index = block % kWindow - word_ % kWindow;  // huge when the block is before the run
    return !empty() && index <= ((word_ >> kLengthShift) % kWindow);
  }
  // Where a block of the run lives.
  [[nodiscard]] constexpr SlotAddress where(std::uint64_t block) const {
    const SlotAddress first = unpack_address(word_);
    return {first.spare, first.slot + (block - begin(block))};
  }
  // The PackedMapping word of a block of the run.
  [[nodiscard]] constexpr std::uint64_t packed_mapping(std::uint64_t block) const {
    return PackedMapping::whole_in_slot(where(block));
  }
  // The first block after `block` for which contains() says something else, or the end of the window.
  [[nodiscard]] constexpr std::uint64_t same_until(std::uint64_t block) const {
    if (contains(block)) return end(block);
    return !empty() && block < begin(block) ? begin(block) : round_down(block, kWindow) + kWindow;
  }

 private:
  static constexpr unsigned kLengthShift = 4;

  std::uint64_t word_;
};

// A run for each window that has one, so that one word answers for up to 16 blocks: bad blocks come in runs, and so do
// the slots of what was relocated in one go.
//
// It repeats what the entries say, to say it faster. It may know less than they do but never claims a block too many:
// the changing thread takes a block out of its run before it changes the block's entry, and puts it in after the entry
// can be found. Memory that is refused costs speed only.
// Threads: as BlockMap.
class RunMap {
 public:
  explicit RunMap(MemorySource& memory) : runs_(memory) {}

  static constexpr std::uint64_t window_of(std::uint64_t block) { return block / WindowRun::kWindow; }

  [[nodiscard]] bool empty() const { return runs_.size() == 0; }
  // The run of the window that the block is in.
  [[nodiscard]] WindowRun run_near(const EpochGuard& /*guard*/, std::uint64_t block) const { return get(block); }
  // The PackedMapping word of a block that is in a run, else 0.
  [[nodiscard]] std::uint64_t find(const EpochGuard& guard, std::uint64_t block) const {
    const WindowRun run = run_near(guard, block);
    return run.contains(block) ? run.packed_mapping(block) : 0;
  }
  // The words of the runs of the windows first, first + 1, ...
  void find_range(const EpochGuard& guard, std::uint64_t first, std::span<std::uint64_t> words) const {
    if (empty()) {
      std::ranges::fill(words, 0);
    } else {
      runs_.find_range(guard, first, words);
    }
  }

  // The entry of the block is about to change: no run contains it any more.
  void take_out(std::uint64_t block);
  // The entry of the block has become `mapping`, which no run contains yet. may_grow: memory may be asked for; without
  // it, room that is missing keeps the block out. Cost: a look at the run of the window, or, where it has none, at
  // neighbouring entries as far as they continue the block.
  void put_in(const BlockMap& entries, std::uint64_t block, PackedMapping mapping, bool may_grow);
  // So many entries are yet to come without another chance to ask for memory: room is made for the most runs that they
  // can form, if memory allows, and given back when it is fewer.
  void expect(std::uint64_t entries);
  // The same, once one of them has come: gives no memory back.
  void settle(std::uint64_t entries) {
    if (runs_.reserved() > most_runs(entries)) runs_.settle();
  }

  [[nodiscard]] std::uint64_t memory_bytes() { return runs_.memory_bytes(); }

 private:
  static constexpr std::uint64_t most_runs(std::uint64_t entries) {
    return (entries + WindowRun::kShortest - 1) / WindowRun::kShortest;
  }
  // As run_near(), for the changing thread.
  [[nodiscard]] WindowRun get(std::uint64_t block) const {
    return WindowRun(empty() ? 0 : runs_.get(window_of(block)));
  }
  // In the place of the run that the window has: takes no memory, and so cannot fail.
  void replace(std::uint64_t block, WindowRun run) { REMAPFS_INVARIANT(runs_.put(window_of(block), run.word())); }

  BlockMap runs_;  // window -> WindowRun
};

}  // namespace remapfs
