// SPDX-License-Identifier: Apache-2.0
#include "core/run_map.hpp"

#include <optional>

namespace remapfs {
namespace {

// The slot that the block `other` would have in one run with `block`; nothing before the first or after the last slot.
std::optional<SlotAddress> slot_in_line(SlotAddress slot, std::uint64_t block, std::uint64_t other) {
  const std::uint64_t number = slot.slot.value() + (other - block);  // less than 16 apart: wraps only below 0
  if (number >= kMaxSlotsPerSpare) return std::nullopt;
  return SlotAddress{slot.spare, SlotIndex(number)};
}

}  // namespace

void RunMap::take_out(std::uint64_t block) {
  const WindowRun run = get(block);
  if (!run.contains(block)) return;
  const std::uint64_t begin = run.begin(block);
  const std::uint64_t end = run.end(block);
  // The larger part stays a run.
  if (block - begin >= end - block && block - begin >= WindowRun::kShortest) {
    replace(block, WindowRun(begin, block, run.where(begin)));
  } else if (end - block > WindowRun::kShortest) {
    replace(block, WindowRun(block + 1, end, run.where(block + 1)));
  } else {
    runs_.erase(window_of(block));
  }
}

void RunMap::put_in(const BlockMap& entries, std::uint64_t block, PackedMapping mapping, bool may_grow) {
  if (mapping.run_kind() != RunKind::slot) return;
  const WindowRun run = get(block);
  if (!run.empty()) {
    const std::uint64_t begin = run.begin(block);
    const std::uint64_t end = run.end(block);
    if (block == end && slot_in_line(run.where(begin), begin, block) == mapping.where()) {
      replace(block, WindowRun(begin, end + 1, run.where(begin)));
    } else if (block + 1 == begin && slot_in_line(mapping.where(), block, begin) == run.where(begin)) {
      replace(block, WindowRun(block, end, mapping.where()));
    }
    return;
  }
  const std::uint64_t window = round_down(block, WindowRun::kWindow);
  const auto continues = [&](std::uint64_t other) {
    const auto slot = slot_in_line(mapping.where(), block, other);
    return slot && entries.get(other) == PackedMapping::whole_in_slot(*slot);
  };
  std::uint64_t begin = block;
  while (begin > window && continues(begin - 1)) --begin;
  std::uint64_t end = block + 1;
  while (end < window + WindowRun::kWindow && continues(end)) ++end;
  if (end - begin < WindowRun::kShortest || (runs_.room() == 0 && !may_grow)) return;
  const WindowRun formed(begin, end, *slot_in_line(mapping.where(), block, begin));
  static_cast<void>(runs_.put(window_of(block), formed.word()));
}

void RunMap::expect(std::uint64_t entries) {
  const std::uint64_t wanted = most_runs(entries);
  if (wanted > runs_.reserved()) {
    static_cast<void>(runs_.reserve(wanted - runs_.reserved()));
  } else {
    runs_.unreserve(runs_.reserved() - wanted);
  }
}

}  // namespace remapfs
