// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cell_progress.hpp"
#include "fault_engine.hpp"
#include "interval_index.hpp"
#include "selector.hpp"

namespace faulty {

// A rule at work on one disk.
class ActiveRule {
 public:
  ActiveRule(RuleId id, RuleSpec spec, Selector selector, nanoseconds now);

  [[nodiscard]] RuleId id() const { return id_; }
  [[nodiscard]] const RuleSpec& spec() const { return spec_; }
  [[nodiscard]] const Selector& selector() const { return selector_; }
  [[nodiscard]] nanoseconds age(nanoseconds now) const { return now - starts_at_; }
  [[nodiscard]] bool started(nanoseconds now) const { return now >= starts_at_; }

  [[nodiscard]] bool hits_reads() const { return spec_.op == RuleOp::read || spec_.op == RuleOp::both; }
  [[nodiscard]] bool hits_writes() const { return spec_.op == RuleOp::write || spec_.op == RuleOp::both; }
  [[nodiscard]] bool cured_by_writes() const { return spec_.mode == RuleMode::until_written; }

  // Calls visit(CellRange) for the parts of `cells` where the rule bites now, ascending, until visit returns false.
  // `cells` of a rule that is not computed must be selected. The engine's progress mutex is held.
  template <class Visit>
  void for_each_bite(CellRange cells, nanoseconds now, Visit&& visit) const;

  // Counts an access of the cells that are selected (mode times) or their rewriting (mode until_written). `cells` as
  // above; the engine's progress mutex is held.
  void advance(CellRange cells, nanoseconds now);

  // Set when the rule was removed while requests may still wait because of it.
  std::atomic<bool> removed{false};
  Counter failed;
  Counter delayed;
  Counter corrupted;
  Counter cured;

 private:
  RuleId id_;
  RuleSpec spec_;
  Selector selector_;
  nanoseconds starts_at_;
  std::optional<CellProgress> progress_;
};

// All rules of a moment, with what is needed to find those a request meets. Immutable, apart from the rules' progress.
class RuleSet {
 public:
  RuleSet() = default;
  explicit RuleSet(std::vector<std::shared_ptr<ActiveRule>> rules);

  [[nodiscard]] const std::vector<std::shared_ptr<ActiveRule>>& rules() const { return rules_; }
  [[nodiscard]] bool any_cured_by_writes() const { return any_cured_by_writes_; }

  // Calls visit(rule, cells) for every rule that may select cells of the range, each part of it once.
  template <class Visit>
  void for_each_candidate(CellRange range, Visit&& visit) const {
    index_.for_each_overlap(
        range, [&](const IntervalIndex::Entry& entry) { visit(rules_[entry.rule], intersection(entry.cells, range)); });
    for (const std::uint32_t rule : computed_) {
      const CellRange cells = intersection(rules_[rule]->selector().bounds(), range);
      if (!cells.empty()) visit(rules_[rule], cells);
    }
  }

  template <class Visit>
  void for_each_flush_rule(Visit&& visit) const {
    for (const std::uint32_t rule : flush_) visit(rules_[rule]);
  }

 private:
  std::vector<std::shared_ptr<ActiveRule>> rules_;  // ascending by id
  IntervalIndex index_;
  std::vector<std::uint32_t> computed_;
  std::vector<std::uint32_t> flush_;
  bool any_cured_by_writes_ = false;
};

template <class Visit>
void ActiveRule::for_each_bite(CellRange cells, nanoseconds now, Visit&& visit) const {
  if (!started(now)) return;
  const auto visit_open = [&](CellRange part) {
    return progress_ ? progress_->for_each_open(part, visit) : static_cast<bool>(visit(part));
  };
  if (!selector_.computed()) {
    visit_open(cells);
    return;
  }
  selector_.for_each_selected(cells, age(now), [&](CellIndex cell) { return visit_open(CellRange{cell, cell + 1}); });
}

}  // namespace faulty
