// SPDX-License-Identifier: Apache-2.0
#include "rule_set.hpp"

#include <utility>

namespace faulty {

ActiveRule::ActiveRule(RuleId id, RuleSpec spec, Selector selector, nanoseconds now)
    : id_(id), spec_(std::move(spec)), selector_(std::move(selector)), starts_at_(now + spec_.after) {
  if (spec_.mode == RuleMode::times) progress_.emplace(spec_.times);
  if (spec_.mode == RuleMode::until_written) progress_.emplace(1U);
}

void ActiveRule::advance(CellRange cells, nanoseconds now) {
  if (!progress_ || !started(now)) return;
  if (!selector_.grows()) {
    // Counting cells that are not selected as well does no harm and keeps the intervals few.
    progress_->advance(cells);
    return;
  }
  // Here it would: a cell that turns bad later must find its count untouched.
  selector_.for_each_selected(cells, age(now), [&](CellIndex cell) {
    progress_->advance({cell, cell + 1});
    return true;
  });
}

RuleSet::RuleSet(std::vector<std::shared_ptr<ActiveRule>> rules) : rules_(std::move(rules)) {
  std::vector<IntervalIndex::Entry> entries;
  for (std::uint32_t i = 0; i < rules_.size(); ++i) {
    const ActiveRule& rule = *rules_[i];
    any_cured_by_writes_ = any_cured_by_writes_ || rule.cured_by_writes();
    if (rule.spec().op == RuleOp::flush) {
      flush_.push_back(i);
    } else if (rule.selector().computed()) {
      computed_.push_back(i);
    } else {
      for (const CellRange cells : rule.selector().fixed()) entries.push_back({cells, i});
    }
  }
  index_ = IntervalIndex(std::move(entries));
}

}  // namespace faulty
