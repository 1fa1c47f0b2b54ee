// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "remapfs/map_store.hpp"

namespace remapfs::testing {

// What a map and the tags hold, in memory. Outlives the stores opened on it, as a file outlives its mounts.
struct MemoryMap {
  VolumeInfo info;
  std::map<std::uint64_t, RemapRow> rows;
  std::set<SlotAddress> retired;
  std::vector<Event> events;
  ScrubRecord scrub;
  std::vector<SmartReading> smart;
  std::optional<PrimaryRecord> primary;  // another one than at the beginning
  std::vector<SpareInfo> joined;         // since the store was opened
  std::set<SpareId> gone;

  // What a commit does, if it is one that a volume may ask for.
  void apply(const MapTransaction& transaction) {
    for (const MapChange& change : transaction.changes) {
      RemapRow row = change.row;
      row.block = change.block;
      const auto old = rows.find(change.block.value());
      if (old != rows.end()) {
        row.error_count += old->second.error_count;
        const bool left = old->second.state == EntryState::remapped &&
                          (change.kind == MapChange::Kind::erase || row.where != old->second.where ||
                           row.state != EntryState::remapped);
        REMAPFS_INVARIANT(left == change.vacated.has_value());
        REMAPFS_INVARIANT(!left || *change.vacated == old->second.where);
      }
      // A sector is valid in a slot only if it was written there.
      REMAPFS_INVARIANT(row.state != EntryState::remapped || (row.valid_mask & ~row.written_mask) == 0);
      if (change.kind == MapChange::Kind::erase) {
        rows.erase(change.block.value());
      } else {
        rows[change.block.value()] = row;
      }
    }
    retired.insert(transaction.retired_slots.begin(), transaction.retired_slots.end());
    events.insert(events.end(), transaction.events.begin(), transaction.events.end());
    if (transaction.primary) primary = *transaction.primary;
    if (transaction.scrub) scrub = *transaction.scrub;
    smart.insert(smart.end(), transaction.smart.begin(), transaction.smart.end());
  }

  // No slot has two owners or is used although it was retired.
  void check_owners() const {
    std::set<SlotAddress> owned;
    for (const auto& [block, row] : rows) {
      if (row.state != EntryState::remapped) continue;
      REMAPFS_INVARIANT(owned.insert(row.where).second);
      REMAPFS_INVARIANT(!retired.contains(row.where));
    }
  }
};

// A MapStore over a MemoryMap that checks its caller and fails on command. It syncs the spares where the real one
// does, so that what a test finds after a power loss is what I3 promises.
class MemoryMapStore final : public MapStore {
 public:
  using Spares = std::map<SpareId, BlockDevice*>;

  MemoryMapStore(MemoryMap& map, Spares spares) : map_(map), spares_(std::move(spares)) {
    map_.info.scrub = map_.scrub;
    map_.info.spares.insert(map_.info.spares.end(), map_.joined.begin(), map_.joined.end());
    std::erase_if(map_.info.spares, [&](const SpareInfo& spare) { return map_.gone.contains(spare.id); });
    map_.joined.clear();
    map_.gone.clear();
    for (SpareInfo& spare : map_.info.spares) {
      spare.retired.clear();
      for (const SlotAddress slot : map_.retired) {
        if (slot.spare == spare.id) spare.retired.push_back(slot.slot);
      }
    }
  }

  [[nodiscard]] const VolumeInfo& info() const override { return map_.info; }

  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    for (const auto& [block, row] : map_.rows) {
      if (auto accepted = visit({&row, 1}); !accepted) return accepted;
    }
    return {};
  }

  Result<std::optional<RemapRow>> find_row(BlockIndex block) override {
    const auto row = map_.rows.find(block.value());
    if (row == map_.rows.end()) return std::nullopt;
    return row->second;
  }

  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    REMAPFS_INVARIANT(!closed_);
    ++commits_;
    if (before_commit) before_commit(transaction);
    if (!failures.empty()) {
      CommitFailure failure = failures.front();
      failures.pop_front();
      if (!failure.unfinished.empty() || (failure.error.code == Errc::commit_unknown && apply_unknown))
        map_.apply(transaction);
      for (const SpareFailure& one : failure.unfinished) unfinished_.insert(one.spare);
      // Let the spare fail it.
      if (failure.sync_failed) REMAPFS_INVARIANT(!spares_.at(*failure.sync_failed)->sync());
      return tl::unexpected<CommitFailure>(failure);
    }
    if (auto failed = sync_spares_of(transaction)) return tl::unexpected<CommitFailure>(*failed);
    map_.apply(transaction);
    if (transaction.primary) {
      // As the real one: every superblock names the primary, after the map does.
      for (const auto& [id, device] : spares_) {
        if (device->sync()) continue;
        return tl::unexpected<CommitFailure>({Error{Errc::commit_unknown, EIO, {}}, {}, id});
      }
    }
    if (map_.rows.size() <= 4096 || commits_ % 64 == 0) map_.check_owners();
    return CommitReport{};
  }

  FinishedCommits finish_commits() override {
    REMAPFS_INVARIANT(!closed_);
    FinishedCommits now{finish_report, {}};
    for (const SpareId id : std::set<SpareId>(unfinished_)) {
      const auto failed = finish_failures.find(id);
      if (failed == finish_failures.end()) {
        unfinished_.erase(id);
      } else {
        now.left.push_back({id, failed->second.error, failed->second.in_sync});
      }
    }
    finish_failures.clear();
    return now;
  }

  // info() stays as it is, as that of the real one does for those who have read it: the next store knows.
  Result<void> add_spare(const SpareInfo& spare, const std::string& /*identity*/, BlockDevice& device) override {
    if (auto refused = next_failure()) return fail(*refused);
    REMAPFS_INVARIANT(!spares_.contains(spare.id));
    spares_[spare.id] = &device;
    map_.joined.push_back(spare);
    return {};
  }
  void wipe_spare(BlockDevice& /*device*/) const override {}
  Result<void> retire_spare(SpareId id) override {
    if (auto refused = next_failure()) return fail(*refused);
    for (const auto& [block, row] : map_.rows) {
      REMAPFS_INVARIANT(row.state != EntryState::remapped || row.where.spare != id);
    }
    REMAPFS_INVARIANT(spares_.erase(id) == 1);
    map_.gone.insert(id);
    std::erase_if(map_.retired, [&](const SlotAddress& slot) { return slot.spare == id; });
    return {};
  }

  Result<void> close() override {
    closed_ = true;
    map_.info.clean = true;
    return {};
  }

  [[nodiscard]] std::uint64_t commits() const { return commits_; }

  std::deque<CommitFailure> failures;               // answers of the next commits
  bool apply_unknown = false;                       // a commit of unknown outcome did happen
  std::map<SpareId, SpareFailure> finish_failures;  // of the next finish_commits()
  std::vector<SlotAddress> finish_report;           // what it could not clear
  std::function<void(const MapTransaction&)> before_commit;

 private:
  std::optional<Error> next_failure() {
    REMAPFS_INVARIANT(!closed_);
    if (failures.empty()) return std::nullopt;
    const Error error = failures.front().error;
    failures.pop_front();
    return error;
  }
  std::optional<CommitFailure> sync_spares_of(const MapTransaction& transaction) {
    std::set<SpareId> touched;
    for (const MapChange& change : transaction.changes) {
      if (change.kind == MapChange::Kind::put && change.row.state == EntryState::remapped) {
        touched.insert(change.row.where.spare);
      }
      if (change.vacated) touched.insert(change.vacated->spare);
    }
    for (const SpareId id : touched) {
      auto synced = spares_.at(id)->sync();
      if (!synced) return CommitFailure{synced.error(), {}, id};
    }
    return std::nullopt;
  }

  MemoryMap& map_;
  Spares spares_;
  std::uint64_t commits_ = 0;
  std::set<SpareId> unfinished_;
  bool closed_ = false;
};

}  // namespace remapfs::testing
