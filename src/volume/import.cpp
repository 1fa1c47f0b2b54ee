// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "volume/impl.hpp"

// What other tools know about the primary becomes entries: many blocks in one commit, each under its hold.

namespace remapfs {
namespace {

// Rows of one commit: it takes some 20 ms then, and holds up the requests on its blocks for so long.
constexpr std::size_t kMostRows = 4096;
// Holds of one commit. Each costs a look at every request that is inside.
constexpr std::size_t kMostHolds = 1024;
// Blocks nearer to each other than this are held together with those between them.
constexpr std::uint64_t kNear = 256;

}  // namespace

using Stretch = std::span<const Volume::Impl::PlannedImport>;

// The runs one block after the other, without those that have an entry.
class Volume::Impl::ImportPlan {
 public:
  ImportPlan(const Impl& volume, std::span<const ImportRun> runs) : volume_(volume), runs_(runs) {}

  // The next blocks for one commit, in stretches to be held; none at the end.
  std::vector<Stretch> next(ImportCounts& counts) {
    planned_.clear();
    std::vector<std::size_t> begins;
    while (planned_.size() < kMostRows && !runs_.empty()) {
      const BlockIndex block = runs_.front().blocks.begin + done_;
      const SectorMask lost = runs_.front().lost & ~volume_.outside_disk(block);
      // Whoever has an entry now keeps it. Who gets one before the block is held keeps that too.
      const bool existing = volume_.table->find(block).has_value();
      if (!existing) {
        const bool apart = planned_.empty() || (block - planned_.back().block.value()).value() > kNear;
        if (apart && begins.size() == kMostHolds) break;
        if (apart) begins.push_back(planned_.size());
        planned_.push_back({block, lost});
      }
      if (existing) ++counts.existing_blocks;
      if (++done_ < runs_.front().blocks.size()) continue;
      runs_ = runs_.subspan(1);
      done_ = 0;
    }
    std::vector<Stretch> stretches;
    for (std::size_t i = 0; i < begins.size(); ++i) {
      const std::size_t end = i + 1 < begins.size() ? begins[i + 1] : planned_.size();
      stretches.push_back(std::span(planned_).subspan(begins[i], end - begins[i]));
    }
    return stretches;
  }

 private:
  const Impl& volume_;
  std::span<const ImportRun> runs_;
  std::uint64_t done_ = 0;  // blocks of the first run
  std::vector<PlannedImport> planned_;
};

Result<void> Volume::Impl::check_import(std::span<const ImportRun> runs) const {
  if (options.read_only) return fail(Errc::read_only);
  if (map_failed()) return fail(Errc::failed);
  if (share(0)->breaker_open()) return fail(Errc::suspended);
  BlockIndex next(0);
  for (const ImportRun& run : runs) {
    const bool in_order = run.blocks.begin >= next && !run.blocks.empty() && run.blocks.end.value() <= block_count;
    if (!in_order || (run.lost & ~geometry.full_mask()) != 0) {
      return fail(Errc::invalid, fmt::format("blocks {}-{}: not in order, outside the disk, or more sectors than a "
                                             "block has, send runs of blocks in ascending order",
                                             run.blocks.begin.value(), run.blocks.end.value()));
    }
    if (run.lost != 0 && (run.lost & ~outside_disk(run.blocks.end - 1)) == 0) {
      return fail(Errc::invalid, fmt::format("block {}: its lost sectors are outside the disk, leave it out",
                                             run.blocks.end.value() - 1));
    }
    next = run.blocks.end;
  }
  return {};
}

void Volume::Impl::stage_import(const PlannedImport& planned, Batch& batch, ImportCounts& counts) const {
  const auto [block, lost] = planned;
  if (table->find(block)) {
    ++counts.existing_blocks;
    return;
  }
  Batch::Entry entry;
  entry.change.block = block;
  RemapRow& row = entry.change.row;
  row.block = block;
  row.state = lost != 0 ? EntryState::lost : EntryState::weak;
  row.valid_mask = geometry.full_mask() & ~lost;
  row.cause = lost != 0 && lost_for_good ? Cause::replaced : Cause::imported;
  batch.entries.push_back(entry);
  ++(lost != 0 ? counts.lost_blocks : counts.weak_blocks);
  counts.lost_sectors += static_cast<std::uint64_t>(std::popcount(lost));
}

Result<void> Volume::Impl::import_stretches(std::vector<Stretch> stretches, std::span<std::byte> aside,
                                            ImportCounts& counts) {
  while (!stretches.empty()) {
    std::vector<BlockGate::Hold> holds;
    std::vector<Stretch> in_use;
    Batch batch;
    ImportCounts staged;
    for (const Stretch stretch : stretches) {
      // Only the first may wait: with holds in hand nobody waits for another one. Those in use now get their turn.
      const Deadline deadline(holds.empty() ? options.request_budget : std::chrono::milliseconds(0));
      auto hold = gate.exclude({stretch.front().block, stretch.back().block + 1}, deadline);
      if (!hold && holds.empty()) {
        return fail(Errc::busy, fmt::format("block {}: in use for too long, try again", stretch.front().block.value()));
      }
      if (!hold) {
        in_use.push_back(stretch);
        continue;
      }
      holds.push_back(std::move(*hold));
      for (const PlannedImport& planned : stretch) stage_import(planned, batch, staged);
    }
    if (auto settled = settle(batch, aside); !settled) return settled;
    counts += staged;
    stretches = std::move(in_use);
  }
  return {};
}

Result<void> Volume::Impl::import_entries(std::span<const ImportRun> runs, ImportCounts& counts) {
  if (auto checked = check_import(runs); !checked) return checked;
  ImportCounts mine;
  Result<void> imported;
  {
    const auto scratch = scratches->take(0);
    ImportPlan plan(*this, runs);
    for (auto stretches = plan.next(mine); imported && !stretches.empty(); stretches = plan.next(mine)) {
      imported = import_stretches(std::move(stretches), scratch.aside(), mine);
    }
  }
  counts += mine;
  if (mine.lost_blocks + mine.weak_blocks != 0) {
    // The rows tell the same: that it cannot be written is no failure of the import.
    std::ignore =
        record({"imported", std::nullopt,
                fmt::format("{} blocks lost ({} sectors), {} weak, between {} and {}; {} with an entry kept it",
                            mine.lost_blocks, mine.lost_sectors, mine.weak_blocks, runs.front().blocks.begin.value(),
                            runs.back().blocks.end.value() - 1, mine.existing_blocks)});
  }
  return imported;
}

Result<void> Volume::import_entries(std::span<const ImportRun> runs, ImportCounts& counts) {
  return impl_->import_entries(runs, counts);
}

}  // namespace remapfs
