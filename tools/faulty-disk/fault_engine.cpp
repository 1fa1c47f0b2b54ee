// SPDX-License-Identifier: Apache-2.0
#include "fault_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "corruption.hpp"
#include "rule_set.hpp"

namespace faulty {
namespace {

// A rule that a request may meet, on the cells in question.
struct Candidate {
  CellRange cells;
  std::shared_ptr<ActiveRule> rule;
  bool whole_read = false;  // the request is a read, not the reading part of a partial write
};

void collect_readers(const RuleSet& rules, CellRange cells, bool whole_read, std::vector<Candidate>& found) {
  rules.for_each_candidate(cells, [&](const std::shared_ptr<ActiveRule>& rule, CellRange part) {
    // A rule about both reads and writes meets a partial write once, as a rule about writes.
    if (rule->hits_reads() && (whole_read || !rule->hits_writes())) found.push_back({part, rule, whole_read});
  });
}

void collect_writers(const RuleSet& rules, CellRange cells, std::vector<Candidate>& found) {
  rules.for_each_candidate(cells, [&](const std::shared_ptr<ActiveRule>& rule, CellRange part) {
    if (rule->hits_writes()) found.push_back({part, rule, false});
  });
}

struct Failure {
  CellIndex cell;
  ActiveRule* rule;
};

// The first cell at which a rule ends the request; of several rules the oldest.
std::optional<Failure> first_failure(const std::vector<Candidate>& candidates, nanoseconds now) {
  std::optional<Failure> first;
  for (const Candidate& candidate : candidates) {
    if (!candidate.rule->spec().error) continue;
    CellRange cells = candidate.cells;
    // Nothing behind a failure already found matters; a large discard would otherwise look at every bad cell of it.
    if (first) cells.end = std::min(cells.end, first->cell + 1);
    if (cells.empty()) continue;
    candidate.rule->for_each_bite(cells, now, [&](CellRange bite) {
      const bool sooner =
          !first || bite.begin < first->cell || (bite.begin == first->cell && candidate.rule->id() < first->rule->id());
      if (sooner) first = Failure{bite.begin, candidate.rule.get()};
      return false;
    });
  }
  return first;
}

// Delays, corruption and counts of the cells in front of `accessed_end`.
void take_effect(const Candidate& candidate, CellIndex accessed_end, const std::optional<Failure>& failure,
                 CellProgress& corrupted, AccessPlan& plan) {
  ActiveRule& rule = *candidate.rule;
  const CellRange cells{candidate.cells.begin, std::min(candidate.cells.end, accessed_end)};
  // The reading part of a partial write hands no data to anybody.
  if (cells.empty() || (rule.spec().corrupt && !candidate.whole_read)) return;
  bool bites = false;
  rule.for_each_bite(cells, plan.made_at, [&](CellRange bite) {
    bites = true;
    if (!rule.spec().corrupt || failure) return false;
    // Two rules that flip the same bits would give the right bytes back.
    corrupted.for_each_open(bite, [&](CellRange part) {
      plan.corrupt.push_back({part, rule.spec().selection.seed});
      return true;
    });
    corrupted.advance(bite);
    rule.corrupted.add(bite.size());
    return true;
  });
  if (!bites) return;
  if (rule.spec().slow > plan.delay) {
    plan.delay = rule.spec().slow;
    plan.slow_by = candidate.rule;
  }
  if (rule.spec().mode == RuleMode::times) rule.advance(cells, plan.made_at);
}

// Returns the cell that fails, if one does.
std::optional<CellIndex> decide(const std::vector<Candidate>& candidates, const DiskShape& disk, AccessPlan& plan) {
  const std::optional<Failure> failure = first_failure(candidates, plan.made_at);
  const CellIndex accessed_end = failure ? failure->cell + 1 : disk.all().end;
  CellProgress corrupted(1);
  for (const Candidate& candidate : candidates) take_effect(candidate, accessed_end, failure, corrupted, plan);
  if (plan.slow_by) plan.slow_by->delayed.add();
  if (!failure) return std::nullopt;
  plan.error = *failure->rule->spec().error;
  failure->rule->failed.add();
  plan.usable.end = std::clamp(disk.begin_of(failure->cell), plan.usable.begin, plan.usable.end);
  return failure->cell;
}

// Ends the rule there, if it is one that lasts until written.
void cure(const std::shared_ptr<ActiveRule>& rule, CellRange cells, nanoseconds now) {
  if (!rule->cured_by_writes()) return;
  std::uint64_t cured = 0;
  rule->for_each_bite(cells, now, [&](CellRange bite) {
    cured += bite.size();
    return true;
  });
  if (cured == 0) return;
  rule->cured.add(cured);
  rule->advance(cells, now);
}

}  // namespace

FaultEngine::FaultEngine(DiskShape disk, Clock clock)
    : disk_(disk), clock_(std::move(clock)), rules_(std::make_shared<const RuleSet>()) {}

FaultEngine::~FaultEngine() = default;

std::shared_ptr<const RuleSet> FaultEngine::rules() const {
  const remapfs::MutexLock lock(rules_mutex_);
  return rules_;
}

Result<std::vector<RuleId>> FaultEngine::add(const std::vector<RuleSpec>& specs) {
  const remapfs::MutexLock lock(change_mutex_);
  std::vector<std::shared_ptr<ActiveRule>> all = rules()->rules();
  std::vector<RuleId> ids;
  RuleId id = last_id_;
  for (const RuleSpec& spec : specs) {
    Result<Selector> selector = Selector::make(spec.selection, disk_);
    if (!selector) {
      return fail(selector.error().code, fmt::format("rule '{}': {}", to_text(spec), selector.error().message));
    }
    all.push_back(std::make_shared<ActiveRule>(++id, spec, std::move(*selector), clock_()));
    ids.push_back(id);
  }
  auto next = std::make_shared<const RuleSet>(std::move(all));
  last_id_ = id;
  const remapfs::MutexLock swap_lock(rules_mutex_);
  rules_ = std::move(next);
  return ids;
}

Result<void> FaultEngine::remove(const std::vector<RuleId>& ids) {
  const remapfs::MutexLock lock(change_mutex_);
  std::vector<std::shared_ptr<ActiveRule>> kept = rules()->rules();
  std::vector<std::shared_ptr<ActiveRule>> dropped;
  for (const RuleId id : ids) {
    const auto found = std::find_if(kept.begin(), kept.end(), [&](const auto& rule) { return rule->id() == id; });
    if (found == kept.end()) return fail(Errc::not_found, fmt::format("no rule {}; see list", id));
    dropped.push_back(*found);
    kept.erase(found);
  }
  auto next = std::make_shared<const RuleSet>(std::move(kept));
  for (const auto& rule : dropped) rule->removed.store(true);
  const remapfs::MutexLock swap_lock(rules_mutex_);
  rules_ = std::move(next);
  return {};
}

std::size_t FaultEngine::remove_all() {
  const remapfs::MutexLock lock(change_mutex_);
  const std::shared_ptr<const RuleSet> old = rules();
  for (const auto& rule : old->rules()) rule->removed.store(true);
  const remapfs::MutexLock swap_lock(rules_mutex_);
  rules_ = std::make_shared<const RuleSet>();
  return old->rules().size();
}

std::vector<RuleStatus> FaultEngine::list() const {
  const nanoseconds now = clock_();
  const std::shared_ptr<const RuleSet> all = rules();
  std::vector<RuleStatus> statuses;
  for (const auto& rule : all->rules()) {
    statuses.push_back({rule->id(),
                        rule->spec(),
                        rule->selector().selected_at(rule->age(now)),
                        !rule->started(now),
                        {rule->failed.value(), rule->delayed.value(), rule->corrupted.value(), rule->cured.value()}});
  }
  return statuses;
}

AccessPlan FaultEngine::start_plan(ByteRange bytes) const {
  AccessPlan plan;
  plan.usable = bytes;
  plan.rules = rules();
  plan.made_at = clock_();
  if (const int gone = gone_.load(); gone != 0) {
    plan.error = gone;
    plan.usable.end = bytes.begin;
  }
  return plan;
}

AccessPlan FaultEngine::plan_read(ByteRange bytes) {
  AccessPlan plan = start_plan(bytes);
  if (plan.error != 0) return plan;
  std::vector<Candidate> candidates;
  collect_readers(*plan.rules, disk_.touching(bytes), true, candidates);
  if (candidates.empty()) return plan;
  const remapfs::MutexLock lock(progress_mutex_);
  decide(candidates, disk_, plan);
  return plan;
}

AccessPlan FaultEngine::plan_write(ByteRange bytes) {
  AccessPlan plan = start_plan(bytes);
  if (plan.error != 0) return plan;
  const CellRange touched = disk_.touching(bytes);
  const CellRange covered = disk_.covered(bytes);
  std::vector<Candidate> candidates;
  collect_writers(*plan.rules, touched, candidates);
  if (covered.empty()) {
    collect_readers(*plan.rules, touched, false, candidates);
  } else {
    collect_readers(*plan.rules, {touched.begin, covered.begin}, false, candidates);
    collect_readers(*plan.rules, {covered.end, touched.end}, false, candidates);
  }
  if (candidates.empty()) return plan;
  const remapfs::MutexLock lock(progress_mutex_);
  const std::optional<CellIndex> failing = decide(candidates, disk_, plan);
  if (!failing || *failing < covered.begin || *failing >= covered.end) return plan;
  // The drive puts another cell in the place of the one that failed: this write is the last one to be told.
  for (const Candidate& candidate : candidates) {
    const CellRange cell = intersection(candidate.cells, {*failing, *failing + 1});
    if (!cell.empty() && candidate.rule->hits_writes()) cure(candidate.rule, cell, plan.made_at);
  }
  return plan;
}

AccessPlan FaultEngine::plan_flush() {
  AccessPlan plan = start_plan({});
  if (plan.error != 0) return plan;
  // A flush has no place: to its rules it is an access of cell 0.
  std::vector<Candidate> candidates;
  plan.rules->for_each_flush_rule([&](const std::shared_ptr<ActiveRule>& rule) {
    candidates.push_back({{CellIndex(0), CellIndex(1)}, rule, false});
  });
  if (candidates.empty()) return plan;
  const remapfs::MutexLock lock(progress_mutex_);
  decide(candidates, disk_, plan);
  return plan;
}

void FaultEngine::stored(const AccessPlan& plan, ByteRange bytes) {
  if (bytes.empty() || !plan.rules->any_cured_by_writes()) return;
  const remapfs::MutexLock lock(progress_mutex_);
  plan.rules->for_each_candidate(disk_.covered(bytes), [&](const std::shared_ptr<ActiveRule>& rule, CellRange cells) {
    cure(rule, cells, plan.made_at);
  });
}

void FaultEngine::corrupt(const AccessPlan& plan, ByteOffset from, std::span<std::byte> data) const {
  const ByteOffset end = from + data.size();
  for (const Corruption& corruption : plan.corrupt) {
    const ByteRange cells = disk_.bytes_of(corruption.cells);
    const ByteOffset first = std::max(cells.begin, from);
    const ByteOffset last = std::min(cells.end, end);
    if (first >= last) continue;
    flip_bits(corruption.seed, first, data.subspan((first - from).value(), (last - first).value()));
  }
}

bool FaultEngine::released(const AccessPlan& plan) { return plan.slow_by && plan.slow_by->removed.load(); }

}  // namespace faulty
