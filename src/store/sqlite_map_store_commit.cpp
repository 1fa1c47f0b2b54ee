// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "store/sql.hpp"
#include "store/sqlite_map_store.hpp"

// A commit (promise I3). In the order in which things become durable:
//
//   1. the tags of the slots that get a new owner or new masks, on every touched spare, and with them the slots' data;
//   2. rows and sequence numbers, in one transaction of the map;
//   3. on every touched spare its watermark, and the clearing of tags that lost their row.
//
// A spare that does not take step 3 gets it later (finish_commits), and until then no part in another commit. Its own
// sequence is what keeps it: the others go on.
//
// The statements of step 2 run before step 1, uncommitted, so that whatever can fail in SQLite fails before a tag is
// written. A tag of a commit that failed after all is remembered as doubtful and written over by the next commit that
// touches its spare, or else put right at the next load.

namespace remapfs::store {
namespace {

Error about(const std::string& path, Errc code, const std::string& what) {
  return {code, 0, fmt::format("{}, {}", path, what)};
}

}  // namespace

tl::expected<CommitReport, CommitFailure> SqliteMapStore::commit(const MapTransaction& transaction) {
  if (state_ == State::failed || state_ == State::closed) {
    return tl::unexpected(CommitFailure{
        about(lock_.path(), Errc::commit_unknown, "an earlier commit failed, unmount and mount again"), {}, {}});
  }
  REMAPFS_INVARIANT(state_ == State::loaded);
  if (!writer_) {
    return tl::unexpected(CommitFailure{about(lock_.path(), Errc::read_only, "the volume is read-only"), {}, {}});
  }
  if (transaction.empty()) return CommitReport{};
  return run_commit(transaction, {});
}

// also_touched: spares that take part without a change of theirs, for the sake of their doubtful tags.
tl::expected<CommitReport, CommitFailure> SqliteMapStore::run_commit(const MapTransaction& transaction,
                                                                     const std::vector<SpareId>& also_touched) {
  Plan plan;
  auto staged = stage(transaction, also_touched, plan);
  // On a full file system the log may still have room in itself.
  if (!staged && staged.error().os_errno == ENOSPC && writer_->rollback() && writer_->make_room()) {
    plan = {};
    staged = stage(transaction, also_touched, plan);
  }
  if (!staged) {
    const bool wanted_wrong = plan.behind || staged.error().code == Errc::invalid;
    if (!wanted_wrong) staged.error().code = Errc::store;
    return tl::unexpected(undo({std::move(staged.error()), {}, {}, plan.behind}, plan));
  }
  if (transaction.primary_stamp) wrote_unasked_ = false;  // what was written until now is in it
  // Before the rows say so: a recovery without the map would take what can be read in their place for data.
  if (plan.ruined_rows != 0 || untold_) tell_spares(plan.ruined_rows != 0);
  if (auto failure = write_tags(plan)) return tl::unexpected(undo(std::move(*failure), plan));
  if (auto committed = writer_->commit(); !committed) {
    state_ = State::failed;
    committed.error().code = Errc::commit_unknown;
    return tl::unexpected(CommitFailure{std::move(committed.error()), {}, {}});
  }
  auto report = finish(plan);
  if (report) writer_->checkpoint_if_due();
  return report;
}

// --- The rows, uncommitted ---

Result<void> SqliteMapStore::stage(const MapTransaction& transaction, const std::vector<SpareId>& also_touched,
                                   Plan& plan) {
  if (auto there = in_place(); !there) return there;
  plan.row_count = record_.row_count;
  plan.ruined_rows = record_.ruined_rows;
  plan.row_digest = record_.row_digest;
  if (auto done = writer_->begin(); !done) return done;
  for (const SpareId id : also_touched) {
    if (auto spare = touch(id, plan); !spare) return fail(std::move(spare.error()));
  }
  if (transaction.primary) {
    // Every superblock names the primary: all of them are written again.
    plan.primary = transaction.primary;
    for (const auto& [id, spare] : spares_) {
      if (auto touched = touch(id, plan); !touched) return fail(std::move(touched.error()));
    }
  }
  for (const MapChange& change : transaction.changes) {
    auto done = change.kind == MapChange::Kind::put ? stage_put(change, plan) : stage_erase(change, plan);
    if (!done) return done;
  }
  return stage_rest(transaction, plan);
}

Result<void> SqliteMapStore::stage_put(const MapChange& change, Plan& plan) {
  RemapRow row = change.row;
  row.block = change.block;
  const bool has_slot = row.state == EntryState::remapped;
  if (!has_slot) {
    row.where = {};
    row.written_mask = 0;
    row.sequence = Sequence(0);
  }
  if (const std::string problem = rules_->problem(row); !problem.empty()) {
    return fail(about(lock_.path(), Errc::invalid, problem));
  }
  SparePlan* spare = nullptr;
  if (has_slot) {
    auto touched = touch(row.where.spare, plan);
    if (!touched) return fail(std::move(touched.error()));
    spare = *touched;
    row.sequence = spare->sequence;
  }
  // Most rows are new: one statement finds that out and writes them. The schema refuses a slot that another row owns.
  auto inserted = writer_->insert(row);
  if (!inserted) return fail(std::move(inserted.error()));
  std::optional<RemapRow> old;
  if (!*inserted) {
    auto found = writer_->find(row.block);
    if (!found) return fail(std::move(found.error()));
    if (!*found) return fail(about(lock_.path(), Errc::corrupt, "a row is there and cannot be found"));
    old = *found;
  }
  if (has_slot) {
    const bool stays = old && old->state == EntryState::remapped && old->where == row.where;
    const auto planned = spare->slots.find(row.where.slot);
    const bool vacated_just_now = planned != spare->slots.end() && !planned->second;
    if (vacated_just_now || (!stays && retired_.contains(row.where))) {
      return fail(about(lock_.path(), Errc::invalid,
                        fmt::format("block {}: slot {} of spare {} is not free", row.block.value(),
                                    row.where.slot.value(), row.where.spare)));
    }
    spare->slots[row.where.slot] = row;
    spare->rows.enter(row_digest(row));
  }
  if (row.ruined()) ++plan.ruined_rows;
  if (old) {
    if (has_slot && old->state == EntryState::remapped && old->where.spare != row.where.spare) spare->takes_over = true;
    if (auto counted = stage_leaving(*old, plan); !counted) return counted;
    if (auto done = writer_->update(row); !done) return done;
    plan.row_digest ^= row_digest(*old);
  } else {
    ++plan.row_count;
  }
  plan.row_digest ^= row_digest(row);
  if (change.vacated && has_slot && *change.vacated == row.where) {
    return fail(about(lock_.path(), Errc::invalid, fmt::format("block {}: vacates its own slot", row.block.value())));
  }
  if (old && old->state == EntryState::remapped && has_slot && old->where == row.where) {
    return stage_vacated(change, std::nullopt, plan);
  }
  return stage_vacated(change, old, plan);
}

Result<void> SqliteMapStore::stage_erase(const MapChange& change, Plan& plan) {
  auto old = writer_->find(change.block);
  if (!old) return fail(std::move(old.error()));
  if (*old) {
    if (auto counted = stage_leaving(**old, plan); !counted) return counted;
    if (auto done = writer_->erase(change.block); !done) return done;
    --plan.row_count;
    plan.row_digest ^= row_digest(**old);
  }
  return stage_vacated(change, *old, plan);
}

// A row goes, or is replaced.
Result<void> SqliteMapStore::stage_leaving(const RemapRow& old, Plan& plan) {
  if (old.ruined()) --plan.ruined_rows;
  if (old.state != EntryState::remapped) return {};
  auto spare = touch(old.where.spare, plan);
  if (!spare) return fail(std::move(spare.error()));
  (*spare)->rows.leave(row_digest(old));
  return {};
}

// old: the row whose slot is given up, if one is.
Result<void> SqliteMapStore::stage_vacated(const MapChange& change, const std::optional<RemapRow>& old, Plan& plan) {
  std::vector<SlotAddress> vacated;
  if (old && old->state == EntryState::remapped) vacated.push_back(old->where);
  if (change.vacated && (vacated.empty() || vacated[0] != *change.vacated)) {
    vacated.push_back(*change.vacated);
    plan.stated_vacated.push_back(*change.vacated);
  }
  for (const SlotAddress slot : vacated) {
    auto spare = touch(slot.spare, plan);
    if (!spare) return fail(std::move(spare.error()));
    const int position = record_.position_of(slot.spare);
    if (slot.slot.value() >= record_.info.spares[static_cast<std::size_t>(position)].slots) {
      return fail(about(lock_.path(), Errc::invalid,
                        fmt::format("block {}: no slot {}", change.block.value(), slot.slot.value())));
    }
    (*spare)->slots[slot.slot] = std::nullopt;
  }
  return {};
}

Result<void> SqliteMapStore::stage_rest(const MapTransaction& transaction, Plan& plan) {
  for (const SlotAddress slot : plan.stated_vacated) {
    auto owner = writer_->find_owner(slot);
    if (!owner) return fail(std::move(owner.error()));
    if (!*owner) continue;
    return fail(about(lock_.path(), Errc::invalid,
                      fmt::format("slot {} of spare {} still belongs to block {}", slot.slot.value(), slot.spare,
                                  (*owner)->block.value())));
  }
  for (const SlotAddress slot : transaction.retired_slots) {
    if (auto done = writer_->retire(slot, "slot"); !done) return done;
  }
  for (const auto& [id, spare] : plan.spares) {
    if (auto done = writer_->set_sequence(id, spare.sequence); !done) return done;
  }
  if (!transaction.changes.empty()) {
    if (auto done = writer_->set_totals(plan.row_count, plan.row_digest); !done) return done;
  }
  for (const std::vector<Event>* events : {&std::as_const(own_events_), &transaction.events}) {
    for (const Event& event : *events) {
      if (auto done = writer_->add_event(event); !done) return done;
    }
  }
  if (transaction.scrub) {
    if (auto done = writer_->put_scrub(*transaction.scrub); !done) return done;
  }
  if (transaction.primary_stamp) {
    if (auto done = writer_->set_primary_stamp(*transaction.primary_stamp); !done) return done;
  }
  if (transaction.primary) {
    if (auto done = writer_->set_primary(*transaction.primary); !done) return done;
    if (auto done = writer_->set_primary_stamp(""); !done) return done;
  }
  for (const SmartReading& reading : transaction.smart) {
    if (auto done = writer_->add_smart(reading); !done) return done;
  }
  for (const SlotAddress slot : transaction.retired_slots) plan.retired.push_back(slot);
  plan.own_events = own_events_.size();
  return writer_->prepare();
}

Result<SqliteMapStore::SparePlan*> SqliteMapStore::touch(SpareId id, Plan& plan) {
  const auto spare = spares_.find(id);
  if (spare == spares_.end()) return fail(about(lock_.path(), Errc::invalid, fmt::format("there is no spare {}", id)));
  if (unfinished_.contains(id)) {
    plan.behind = id;
    return fail(about(lock_.path(), Errc::suspended, fmt::format("spare {} lacks a part of an earlier commit", id)));
  }
  const auto [place, added] = plan.spares.try_emplace(id);
  if (added) {
    place->second.sequence = record_.spares[spare->second.position].sequence + 1;
    place->second.rows = spare->second.superblock.rows;
  }
  return &place->second;
}

// --- Step 1: tags ---

std::optional<CommitFailure> SqliteMapStore::write_tags(Plan& plan) {
  CommitFailure failure;
  std::vector<SlotAddress> unwritable;
  for (auto& [id, spare_plan] : plan.spares) {
    Spare& spare = spares_.at(id);
    std::vector<SlotIndex> unwritable_here;
    const bool has_tags = std::any_of(spare_plan.slots.begin(), spare_plan.slots.end(),
                                      [](const auto& s) { return s.second.has_value(); });
    if (!has_tags && spare.doubtful.empty()) {
      // The end of the commit writes to it all the same. One that takes no writes any more is found out while the rows
      // can still be taken back: the bytes that are there already cost it nothing.
      if (auto written = write_superblock(spare); !written) {
        failure.error = std::move(written.error());
        failure.spare = id;
        return failure;
      }
      continue;
    }
    spare_plan.tags_written = true;
    if (spare_plan.takes_over) {
      if (auto told = tell_of_move(spare); !told) {
        failure.error = std::move(told.error());
        failure.spare = id;
        return failure;
      }
    }
    auto outcome = write_spare_tags(id, spare, spare_plan, unwritable_here);
    if (!outcome) {
      failure.error = std::move(outcome.error());
      failure.spare = id;
      return failure;
    }
    for (const SlotIndex slot : outcome->bad) failure.bad_slots.push_back({id, slot});
    for (const SlotIndex slot : unwritable_here) unwritable.push_back({id, slot});
  }
  if (!failure.bad_slots.empty()) {
    failure.error = {Errc::media, 0, fmt::format("{}, tags cannot be written to the spare", lock_.path())};
    return failure;
  }
  for (const auto& [id, spare_plan] : plan.spares) {
    if (auto synced = spares_.at(id).tags.device().sync(); !synced) {
      failure.error = std::move(synced.error());
      failure.spare = id;
      failure.sync_failed = id;
      return failure;
    }
  }
  // Rows stay in slots whose tag could be neither written nor restored; the map has to say so, or the next load would
  // take the tag that is there for another history.
  if (unwritable.empty()) return std::nullopt;
  for (const SlotAddress slot : unwritable) {
    if (auto retired = writer_->retire(slot, "tag"); !retired) {
      failure.error = std::move(retired.error());
      failure.error.code = Errc::store;
      return failure;
    }
    plan.retired.push_back(slot);
    plan.tags_retired.push_back(slot);
  }
  if (auto prepared = writer_->prepare(); !prepared) {
    failure.error = std::move(prepared.error());
    failure.error.code = Errc::store;
    return failure;
  }
  return std::nullopt;
}

// Writes the tags a plan asks for, and those of doubtful slots as the rows have them.
// unwritable: doubtful slots with an owner that failed; the outcome's bad slots are only those of the plan.
Result<TagTable::Outcome> SqliteMapStore::write_spare_tags(SpareId id, Spare& spare, const SparePlan& plan,
                                                           std::vector<SlotIndex>& unwritable) {
  std::vector<TagTable::Update> updates;
  std::set<SlotIndex> owned;
  for (const SlotIndex slot : spare.doubtful) {
    if (plan.slots.contains(slot)) continue;
    auto owner = writer_->find_owner({id, slot});
    if (!owner) return fail(std::move(owner.error()));
    if (*owner) owned.insert(slot);
    updates.push_back({slot, *owner ? Tag::used_by(**owner) : Tag::cleared_at(plan.sequence)});
  }
  for (const auto& [slot, owner] : plan.slots) {
    if (owner) updates.push_back({slot, Tag::used_by(*owner)});
  }
  auto outcome = spare.tags.update(std::move(updates));
  if (!outcome) return outcome;
  note(outcome->notes);
  std::vector<SlotIndex> bad;
  for (const SlotIndex slot : outcome->bad) {
    if (plan.slots.contains(slot)) {
      bad.push_back(slot);
    } else if (owned.contains(slot)) {
      unwritable.push_back(slot);
    } else {
      tags_suspect_ = true;
    }
  }
  outcome->bad = std::move(bad);
  return outcome;
}

// Takes back the uncommitted rows and remembers which tags may have been written.
CommitFailure SqliteMapStore::undo(CommitFailure failure, const Plan& plan) {
  for (const auto& [id, spare_plan] : plan.spares) {
    if (!spare_plan.tags_written) continue;
    for (const auto& [slot, owner] : spare_plan.slots) {
      if (owner) spares_.at(id).doubtful.insert(slot);
    }
  }
  if (auto rolled_back = writer_->rollback(); !rolled_back) {
    state_ = State::failed;
    failure.error = std::move(rolled_back.error());
    failure.error.code = Errc::commit_unknown;
  }
  for (const auto& [id, spare_plan] : plan.spares) {
    if (state_ != State::failed && spare_plan.tags_written && spare_plan.takes_over) take_back_move(spares_.at(id));
  }
  return failure;
}

// --- Step 3, after the rows are durable ---

tl::expected<CommitReport, CommitFailure> SqliteMapStore::finish(const Plan& plan) {
  own_events_.erase(own_events_.begin(), own_events_.begin() + static_cast<std::ptrdiff_t>(plan.own_events));
  record_.row_count = plan.row_count;
  record_.row_digest = plan.row_digest;
  record_.ruined_rows = plan.ruined_rows;
  retired_.insert(plan.retired.begin(), plan.retired.end());
  if (plan.primary) {
    record_.info.primary_path = plan.primary->path;
    record_.info.primary_identity = plan.primary->identity;
  }
  CommitReport report;
  report.retired = plan.tags_retired;
  std::vector<SpareFailure> unfinished;
  for (const auto& [id, spare_plan] : plan.spares) {
    Spare& spare = spares_.at(id);
    record_.spares[spare.position].sequence = spare_plan.sequence;
    if (spare_plan.tags_written) spare.doubtful.clear();
    auto failed = finish_spare(id, spare_plan, report.uncleared);
    if (!failed) continue;
    unfinished_.emplace(id, spare_plan);
    unfinished.push_back(std::move(*failed));
  }
  if (unfinished.empty()) return report;
  CommitFailure failure;
  failure.error = unfinished.front().error;
  failure.spare = unfinished.front().spare;
  if (unfinished.front().in_sync) failure.sync_failed = failure.spare;
  if (plan.primary) {
    // Whoever asked for it has to know at once which of the two it is now.
    state_ = State::failed;
    failure.error.message = fmt::format("{}, spare {} cannot be told ({}), unmount and mount again", lock_.path(),
                                        *failure.spare, describe(failure.error));
    failure.error.code = Errc::commit_unknown;
    return tl::unexpected(std::move(failure));
  }
  untold_report_.add(report);
  failure.unfinished = std::move(unfinished);
  return tl::unexpected(std::move(failure));
}

FinishedCommits SqliteMapStore::finish_commits() {
  REMAPFS_INVARIANT(state_ == State::loaded);
  FinishedCommits now;
  for (auto next = unfinished_.begin(); next != unfinished_.end();) {
    wrote_unasked_ = true;
    if (auto failed = finish_spare(next->first, next->second, untold_report_.uncleared)) {
      now.left.push_back(std::move(*failed));
      ++next;
    } else {
      next = unfinished_.erase(next);
    }
  }
  now.report = untold_report_;
  if (now.left.empty()) untold_report_ = {};
  return now;
}

// May be done again when it has failed.
std::optional<SpareFailure> SqliteMapStore::finish_spare(SpareId id, const SparePlan& plan,
                                                         std::vector<SlotAddress>& uncleared) {
  Spare& spare = spares_.at(id);
  const Superblock before = spare.superblock;
  auto written = write_last_part(spare, plan);
  auto synced = written ? spare.tags.device().sync() : Result<void>{};
  if (!written || !synced) {
    spare.superblock = before;
    return SpareFailure{id, std::move(written ? synced.error() : written.error()), written.has_value()};
  }
  tags_suspect_ = tags_suspect_ || !written->empty();
  for (const SlotIndex slot : *written) uncleared.push_back({id, slot});
  return std::nullopt;
}

// The slots whose tags could not be cleared.
Result<std::vector<SlotIndex>> SqliteMapStore::write_last_part(Spare& spare, const SparePlan& plan) {
  std::vector<TagTable::Update> updates;
  for (const auto& [slot, owner] : plan.slots) {
    if (!owner) updates.push_back({slot, Tag::cleared_at(plan.sequence)});
  }
  auto outcome = spare.tags.update(std::move(updates));
  if (!outcome) return fail(std::move(outcome.error()));
  note(outcome->notes);
  spare.superblock.rows = plan.rows;
  bring_up_to_date(spare.superblock);
  if (auto written = write_watermark(spare, plan.sequence); !written) return fail(std::move(written.error()));
  return std::move(outcome->bad);
}

}  // namespace remapfs::store
