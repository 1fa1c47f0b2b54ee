// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cells.hpp"
#include "remapfs/thread_annotations.hpp"
#include "rule.hpp"

namespace faulty {

// A rule at work and the set of all of them; defined in rule_set.hpp.
class ActiveRule;
class RuleSet;

using RuleId = std::uint64_t;

// A count that any thread may raise.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// What a rule has done since it was set.
struct RuleCounts {
  std::uint64_t failed = 0;     // requests answered with its error
  std::uint64_t delayed = 0;    // requests it slowed down
  std::uint64_t corrupted = 0;  // cells returned with wrong bytes
  std::uint64_t cured = 0;      // cells a write made good
};

// A rule as listed.
struct RuleStatus {
  RuleId id = 0;
  RuleSpec spec;
  std::uint64_t selected_cells = 0;  // now, the cured and the exhausted included
  bool waiting = false;              // its `after` has not passed
  RuleCounts counts;
};

// Cells to be returned with wrong bytes, and the seed that says which.
struct Corruption {
  CellRange cells;
  std::uint64_t seed = 0;
};

// How one request is to be served.
struct AccessPlan {
  int error = 0;                        // errno to answer; 0: the request works
  ByteRange usable;                     // the part to be transferred: all of it, or what precedes the failure
  nanoseconds delay{0};                 // to be spent before the transfer
  std::shared_ptr<ActiveRule> slow_by;  // the rule behind the delay
  std::vector<Corruption> corrupt;      // disjoint

  // What the plan was made from; the engine's own.
  std::shared_ptr<const RuleSet> rules;
  nanoseconds made_at{0};
};

// Decides which requests fail, how, and keeps count: the faulty disk without its data.
//
// A request takes its cells in ascending order. The first cell that fails ends it, as on a drive; the cells behind
// are not accessed. A write that covers only a part of a cell has the drive read the rest first, so faults of reads
// hit it too. For a write with a fault nothing of the failing cell is stored, but it counts as written to until-written
// rules about writes, if the request covers it.
// Threads: all members from any thread.
// Cost: a request that no rule can touch costs one short lock; otherwise O(log rules + hits), plus some ten nanoseconds
//   a cell for each percent, grow or very large count rule.
class FaultEngine {
 public:
  using Clock = std::function<nanoseconds()>;

  // clock never goes backwards; rules with `after` and `grow` live by it.
  FaultEngine(DiskShape disk, Clock clock);
  ~FaultEngine();

  [[nodiscard]] const DiskShape& disk() const { return disk_; }

  // Sets rules, all or none. Errors: invalid, not_found and permission (of a list file), with a message.
  Result<std::vector<RuleId>> add(const std::vector<RuleSpec>& rules);
  // Removes rules, all or none. Errors: not_found.
  Result<void> remove(const std::vector<RuleId>& ids);
  // Removes every rule; returns how many there were.
  std::size_t remove_all();
  [[nodiscard]] std::vector<RuleStatus> list() const;

  // Takes the disk away: every access fails with this errno until it is 0.
  void set_gone(int error) { gone_.store(error); }
  [[nodiscard]] int gone() const { return gone_.load(); }

  // The plan for an access of `bytes`, which are inside the disk and not empty. Counts what the request uses up.
  [[nodiscard]] AccessPlan plan_read(ByteRange bytes);
  [[nodiscard]] AccessPlan plan_write(ByteRange bytes);
  [[nodiscard]] AccessPlan plan_flush();

  // Tells that a planned write has stored `bytes`: cells it covered are cured of until-written rules that were there
  // when it was planned. To be called after the data arrived, never before: until then the cell has its bad content.
  void stored(const AccessPlan& plan, ByteRange bytes);

  // Puts the wrong bytes of a planned read into `data`, which was read from `from`. The same wrong bytes each time.
  void corrupt(const AccessPlan& plan, ByteOffset from, std::span<std::byte> data) const;

  // True once the rule that slows a plan down has been removed.
  [[nodiscard]] static bool released(const AccessPlan& plan);

 private:
  [[nodiscard]] std::shared_ptr<const RuleSet> rules() const EXCLUDES(rules_mutex_);
  [[nodiscard]] AccessPlan start_plan(ByteRange bytes) const;

  DiskShape disk_;
  Clock clock_;
  std::atomic<int> gone_{0};

  // Lock order: change_mutex_, rules_mutex_, progress_mutex_; the last two are never held together.
  remapfs::Mutex change_mutex_;  // one change of the rules at a time
  RuleId last_id_ GUARDED_BY(change_mutex_) = 0;
  mutable remapfs::Mutex rules_mutex_;  // held only to copy or swap the pointer
  std::shared_ptr<const RuleSet> rules_ GUARDED_BY(rules_mutex_);
  remapfs::Mutex progress_mutex_;  // guards the progress inside every ActiveRule
};

}  // namespace faulty
