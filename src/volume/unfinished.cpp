// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "volume/impl.hpp"

// Commits whose rows are durable, and whose spare went away before it had its part (MapStore::finish_commits). Nobody
// is told of the rows before it has: their blocks answer nothing, and what was to be published waits here for resume.

namespace remapfs {

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
  std::vector<SpareId> spares;
  bool broken = false;
  for (const SpareFailure& failed : failure.unfinished) {
    Member& spare = *member(failed.spare);
    spares.push_back(failed.spare);
    spare.set_behind(true);
    broken = is_broken(spare, failed.error, aside) || broken;
  }
  bool first = false;
  {
    const MutexLock lock(unfinished_mutex);
    first = unfinished.empty();
    unfinished.push_back({std::move(waiting), std::move(spares)});
  }
  for (const SpareFailure& failed : failure.unfinished) {
    Member& spare = *member(failed.spare);
    if (failed.in_sync) sync_failed_on(spare, failed.error);
    if (!first) continue;
    static_cast<void>(record({"commit-unfinished", std::nullopt,
                              fmt::format("{} did not take the end of a commit ({}): its blocks answer nothing until "
                                          "`remapfs resume`",
                                          spare.device().name(), describe(failed.error))}));
  }
  return fail(broken ? Errc::suspended : Errc::failed);
}

// No entry depends on the answer: a probe of its reads is enough. A sync that failed once says nothing of why.
bool Volume::Impl::is_broken(Member& member, const Error& error, std::span<std::byte> aside) {
  if (member.breaker_open()) return true;
  const bool asked = !aside.empty() && (is_media_error(error) || error.code == Errc::failed);
  const bool gone = error.code == Errc::device_gone || (asked && probe_reads(member, {}, aside) == Probe::broken);
  if (gone) open_breaker(member, error);
  return gone;
}

bool Volume::Impl::is_unfinished(BlockIndex block) const { return !lacking(block).empty(); }

// The spares that have not got their part of the block's commit.
std::vector<SpareId> Volume::Impl::lacking(BlockIndex block) const {
  const MutexLock lock(unfinished_mutex);
  for (const Unfinished& one : unfinished) {
    const auto is_of_it = [&](const Batch::Entry& entry) { return entry.change.block == block; };
    if (std::any_of(one.batch.entries.begin(), one.batch.entries.end(), is_of_it)) return one.spares;
  }
  return {};
}

bool Volume::Impl::has_unfinished() const {
  const MutexLock lock(unfinished_mutex);
  return !unfinished.empty();
}

Errc Volume::Impl::why_poisoned(BlockIndex block) const {
  const std::vector<SpareId> spares = lacking(block);
  const auto is_open = [&](SpareId id) { return member(id)->breaker_open(); };
  return std::any_of(spares.begin(), spares.end(), is_open) ? Errc::suspended : Errc::failed;
}

Result<void> Volume::Impl::finish_commits(std::span<std::byte> aside) {
  std::vector<Unfinished> all;
  {
    const MutexLock lock(unfinished_mutex);
    all = unfinished;
  }
  std::uint64_t entries = 0;
  for (const Unfinished& one : all) entries += one.batch.entries.size();
  if (auto room = table->reserve(entries); !room) return room;
  const auto finished = commits.finish();
  if (!finished) {
    table->unreserve(entries);
    return fail(finished.error());
  }
  for (const SpareFailure& failed : finished->left) {
    Member& spare = *member(failed.spare);
    static_cast<void>(is_broken(spare, failed.error, aside));
    if (failed.in_sync) sync_failed_on(spare, failed.error);
  }
  const auto lacks = [&](SpareId id) {
    return std::any_of(finished->left.begin(), finished->left.end(), [&](const auto& one) { return one.spare == id; });
  };
  for_each_spare([&](Member& spare) { spare.set_behind(lacks(spare.id())); });
  std::vector<Unfinished> left;
  for (Unfinished& one : all) {
    if (std::none_of(one.spares.begin(), one.spares.end(), lacks)) {
      publish(one.batch, finished->report);
    } else {
      table->unreserve(one.batch.entries.size());
      left.push_back(std::move(one));
    }
  }
  {
    const MutexLock lock(unfinished_mutex);
    unfinished = std::move(left);
  }
  if (finished->left.empty()) return {};
  const Error& error = finished->left.front().error;
  return fail(error.code, fmt::format("resume: a commit cannot be finished ({}), run it again, or unmount and mount "
                                      "again",
                                      describe(error)));
}

}  // namespace remapfs
