// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "volume/impl.hpp"

// Commits whose rows are durable, and whose spare went away before it had its part (MapStore::finish_commits). Nobody
// is told of the rows before it has: their blocks answer nothing, and what was to be published waits here for resume.

namespace remapfs {

namespace {
bool has(const Batch& batch, BlockIndex block) {
  return std::any_of(batch.entries.begin(), batch.entries.end(),
                     [&](const Batch::Entry& entry) { return entry.change.block == block; });
}
}  // namespace

Result<void> Volume::Impl::leave_unfinished(const Batch& batch, const CommitFailure& failure,
                                            std::span<std::byte> aside) {
  Batch waiting;
  waiting.entries = batch.entries;
  waiting.retired = batch.retired;
  waiting.events = batch.events;
  for (Batch::Entry& entry : waiting.entries) {
    if (!entry.slot_content.empty()) remembered.relocations.fetch_add(1, std::memory_order_relaxed);
    entry.slot_content = {};  // of the request's
    const MapChange& change = entry.change;
    const bool goes = change.kind == MapChange::Kind::erase;
    // Nothing more is lost than the row says.
    publish(change.block, Mapping{EntryState::poisoned, {}, goes ? geometry.full_mask() : change.row.valid_mask});
  }
  bool first = false;
  {
    const MutexLock lock(unfinished_mutex);
    first = unfinished.empty();
    unfinished.push_back(std::move(waiting));
  }
  if (first) {
    static_cast<void>(record({"commit-unfinished", std::nullopt,
                              fmt::format("{} did not take the end of a commit ({}): its blocks answer nothing until "
                                          "`remapfs resume`",
                                          member(*failure.spare)->device().name(), describe(failure.error))}));
  }
  return fail(is_broken(failure, aside) ? Errc::suspended : Errc::failed);
}

// Entries do not depend on the answer: a probe of its reads is enough.
bool Volume::Impl::is_broken(const CommitFailure& failure, std::span<std::byte> aside) {
  if (!failure.spare) return false;
  Member& spare = *member(*failure.spare);
  spare.forget_probe(false);
  static_cast<void>(confirm_media(spare, failure.error, false, {}, aside));
  return spare.breaker_open();
}

bool Volume::Impl::is_unfinished(BlockIndex block) const {
  const MutexLock lock(unfinished_mutex);
  return std::any_of(unfinished.begin(), unfinished.end(), [&](const Batch& batch) { return has(batch, block); });
}

bool Volume::Impl::has_unfinished() const {
  const MutexLock lock(unfinished_mutex);
  return !unfinished.empty();
}

Errc Volume::Impl::why_poisoned(BlockIndex block) const {
  if (!is_unfinished(block)) return Errc::failed;
  bool broken = false;
  for_each_member([&](const Member& one) { broken = broken || (!one.missing() && one.breaker_open()); });
  return broken ? Errc::suspended : Errc::failed;
}

Result<void> Volume::Impl::finish_commits() {
  std::vector<Batch> batches;
  {
    const MutexLock lock(unfinished_mutex);
    batches = unfinished;
  }
  std::uint64_t entries = 0;
  for (const Batch& batch : batches) entries += batch.entries.size();
  if (auto room = table->reserve(entries); !room) return room;
  const auto finished = commits.finish();
  if (!finished) {
    table->unreserve(entries);
    const CommitFailure& failure = finished.error();
    if (failure.sync_failed) sync_failed_on(*member(*failure.sync_failed), failure.error);
    if (failure.spare && failure.error.code == Errc::device_gone) open_breaker(*member(*failure.spare), failure.error);
    return fail(failure.error.code, fmt::format("resume: a commit cannot be finished ({}), run it again, or unmount "
                                                "and mount again",
                                                describe(failure.error)));
  }
  for (const Batch& batch : batches) publish(batch, *finished);
  const MutexLock lock(unfinished_mutex);
  unfinished.clear();
  return {};
}

}  // namespace remapfs
