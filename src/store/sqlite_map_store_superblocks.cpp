// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "store/sqlite_map_store.hpp"

// What the superblocks say, for those who have lost the map: docs/adr/0009-recovery.md.

namespace remapfs::store {

namespace {

// A spare that does not answer must not hold up the commits of the others.
constexpr std::chrono::seconds kPauseBetweenTellings{10};

}  // namespace

// What the map says of the volume as a whole, when no commit is under way.
void SqliteMapStore::bring_up_to_date(Superblock& superblock) const {
  superblock.volume_size = record_.info.size;
  superblock.primary_identity = record_.info.primary_identity;
  superblock.hides_losses = record_.ruined_rows != 0;
  superblock.between_spares = false;
  superblock.spares = SpareRoll::of(record_.info.spares);
}

// Both copies, not durably yet; one is enough.
Result<void> SqliteMapStore::write_superblock(Spare& spare) {
  auto written = write_superblocks(spare.tags.device(), spare.superblock);
  if (!written) return fail(std::move(written.error()));
  if (!written->any()) return fail(std::move(written->copy[0].error()));
  for (std::size_t i = 0; i < 2; ++i) {
    if (written->copy[i] || !spare.superblocks_agree) continue;
    note({fmt::format("spare {}: superblock {} cannot be written ({})", spare.tags.device().name(), letter(kCopies[i]),
                      describe(written->copy[i].error()))});
  }
  spare.superblocks_agree = written->all();
  return {};
}

Result<void> SqliteMapStore::write_watermark(Spare& spare, Sequence watermark) {
  spare.superblock.watermark = watermark;
  return write_superblock(spare);
}

// Has every superblock say so, durably, at the watermark that it has. A spare that does not take it is told by its own
// next commit, or after a while before somebody else's; the rows do not depend on it.
void SqliteMapStore::tell_spares(bool hides_losses) {
  const SpareRoll spares = SpareRoll::of(record_.info.spares);
  untold_ = false;
  for (auto& [id, spare] : spares_) {
    Superblock said = spare.superblock;
    said.volume_size = record_.info.size;
    said.primary_identity = record_.info.primary_identity;
    said.hides_losses = said.hides_losses || hides_losses || record_.ruined_rows != 0;
    said.spares = spares;
    if (said == spare.superblock) continue;
    untold_ = !tell_spare(spare, said) || untold_;
  }
}

bool SqliteMapStore::tell_spare(Spare& spare, const Superblock& what) {
  const auto begun = std::chrono::steady_clock::now();
  const bool again = spare.not_taken == what;
  if (again && begun < spare.not_told_before) return false;
  const Superblock before = std::exchange(spare.superblock, what);
  wrote_unasked_ = true;
  if (write_superblock(spare) && spare.tags.device().sync()) {
    spare.not_taken.reset();
    return true;
  }
  spare.superblock = before;
  spare.not_taken = what;
  const auto now = std::chrono::steady_clock::now();
  spare.not_told_before =
      now + std::max<std::chrono::steady_clock::duration>(kPauseBetweenTellings, 10 * (now - begun));
  if (!again) {
    note({fmt::format("spare {}: its superblocks do not say what a recovery without the map has to know",
                      spare.tags.device().name())});
  }
  return false;
}

// With the tags, before the rows: where one spare has completed the commit and another one has not, each of them would
// vouch for its own part of it.
Result<void> SqliteMapStore::tell_of_move(Spare& spare) {
  spare.superblock.between_spares = true;
  return write_superblock(spare);
}

// The commit failed. Where that cannot be written the next commit on the spare writes it.
void SqliteMapStore::take_back_move(Spare& spare) {
  spare.superblock.between_spares = false;
  std::ignore = write_superblock(spare);
}

void SqliteMapStore::note(const std::vector<std::string>& notes) {
  for (const std::string& text : notes) own_events_.push_back({"spare-copy-failed", std::nullopt, text});
}

}  // namespace remapfs::store
