// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include "volume/impl.hpp"

// Reading a disk before anybody needs it. What is well is read as requests read it, many blocks at once; a block that
// asks for care, or lies where an access failed, is held and read alone.

namespace remapfs {

namespace {
constexpr std::chrono::seconds kLongestCarefulStep{1};
}  // namespace

Result<BlockIndex> Volume::Impl::scrub(BlockIndex from, std::uint64_t most_blocks, ScrubFindings& findings,
                                       const std::function<bool()>& go_on) {
  if (options.read_only) return fail(Errc::read_only, "the volume is mounted read-only");
  const BlockIndex end(std::min(block_count, from.value() + std::min(most_blocks, block_count)));
  BlockIndex next = from;
  while (next < end) {
    // Blocks that are known to be weak, and a last block that is off the devices' grid, are for the slow road.
    BlockRange careful = weak_blocks_in({next, std::min(end, next + (kMaxRequestSize >> geometry.shift()))});
    const ByteRange piece{geometry.begin_of(next),
                          std::min(geometry.begin_of(careful.begin), ByteOffset(size.value()))};
    bool failed = false;
    if (!piece.empty() && !end_aligned(piece.end)) {
      careful = {next, careful.begin};
    } else if (!piece.empty()) {
      share(0)->device().drop_cache(piece);
      const auto scratch = scratches->take();
      const auto trouble = fast_read(piece, scratch.main().data());
      if (trouble && trouble->fatal && trouble->fatal->code != Errc::deadline) return fail(*trouble->fatal);
      if (trouble) careful = geometry.blocks_touching(trouble->range);
      failed = trouble && trouble->failed;
    }
    auto reached = scrub_carefully(careful, failed, findings, go_on);
    if (!reached || *reached < careful.end) return reached;
    next = careful.end;
  }
  return next;
}

// The first run of blocks that the table knows to be weak; empty, and at the end, where there is none.
BlockRange Volume::Impl::weak_blocks_in(BlockRange blocks) const {
  if (weak_blocks.load(std::memory_order_relaxed) == 0) return {blocks.end, blocks.end};
  const auto is_weak = [&](BlockIndex block) {
    const auto mapping = table->find(block);
    return mapping && mapping->state == EntryState::weak;
  };
  BlockIndex begin = blocks.begin;
  while (begin < blocks.end && !is_weak(begin)) ++begin;
  BlockIndex end = begin;
  while (end < blocks.end && is_weak(end)) ++end;
  return {begin, end};
}

// The first block that was not looked at: on a disk that fails slowly a part of them is one step. failed: an access to
// all of them failed. Which block it was shows when that one fails again, which may take some tries.
Result<BlockIndex> Volume::Impl::scrub_carefully(BlockRange blocks, bool failed, ScrubFindings& findings,
                                                 const std::function<bool()>& go_on) {
  ScrubFindings found;
  const Deadline step_until(kLongestCarefulStep);
  for (int tries = 0; tries < (failed ? kTriesPerSector : 1) && found == ScrubFindings{}; ++tries) {
    for (BlockIndex block = blocks.begin; block < blocks.end; ++block) {
      const bool is_long = found != ScrubFindings{} && step_until.passed();
      const bool goes_on = !is_long && (!go_on || go_on());
      auto looked = goes_on ? scrub_block(block) : Result<ScrubFindings>(ScrubFindings{});
      if (!looked) {
        findings += found;
        return fail(std::move(looked).error());
      }
      const bool cut_short = looked->unread_blocks != 0 && closing;
      if (!goes_on || cut_short) {
        findings += found;
        return tries == 0 ? block : blocks.end;
      }
      found += *looked;
    }
  }
  findings += found;
  return blocks.end;
}

Result<ScrubFindings> Volume::Impl::scrub_block(BlockIndex block) {
  ScrubFindings found;
  const auto looked =
      with_block(block, {options.request_budget, options.request_budget, kMostCareTime},
                 [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
                     Batch& batch) -> Result<Outcome> {
                   if (held.valid == 0) return Outcome::already;
                   held.member->device().drop_cache(held.on_device());
                   const auto buffer = scratch.main().first(geometry.block_size());
                   const auto reading = read_valid(held, held.valid, buffer, scratch.aside(), deadline, batch);
                   if (!reading && reading.error().code == Errc::lost) {
                     const SectorMask left = batch.entries.back().change.row.valid_mask;
                     found.lost_sectors = static_cast<std::uint64_t>(std::popcount(held.valid & ~left));
                     return Outcome::still_bad;
                   }
                   if (!reading) return fail(reading.error());
                   const bool known_weak = held.mapping && held.mapping->state == EntryState::weak;
                   if (!reading->retried && !known_weak) return Outcome::done;
                   ++(move_weak(held, *reading, buffer, scratch.aside(), deadline, batch) ? found.moved_blocks
                                                                                          : found.weak_blocks);
                   return Outcome::done;
                 });
  if (looked) return found;
  const Errc code = looked.error().code;
  // A block that answers nothing until remount is one of many, unless the map itself has failed.
  const bool of_this_block = code == Errc::busy || code == Errc::deadline || (code == Errc::failed && !map_failed());
  if (!of_this_block) return fail(looked.error());
  return ScrubFindings{.unread_blocks = 1};
}

Result<void> Volume::Impl::record_scrub(const ScrubRecord& record, std::optional<Event> event) {
  MapTransaction transaction;
  transaction.scrub = record;
  if (event) transaction.events.push_back(*event);
  const auto committed = commits.commit(std::move(transaction));
  if (!committed) return fail(committed.error().error);
  if (event) tell(*event);
  return {};
}

Result<BlockIndex> Volume::scrub(BlockIndex from, std::uint64_t most_blocks, ScrubFindings& findings,
                                 const std::function<bool()>& go_on) {
  return impl_->scrub(from, most_blocks, findings, go_on);
}
Result<void> Volume::record_scrub(const ScrubRecord& record, std::optional<Event> event) {
  return impl_->record_scrub(record, std::move(event));
}

}  // namespace remapfs
