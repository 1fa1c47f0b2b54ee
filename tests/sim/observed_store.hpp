// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "remapfs/map_store.hpp"
#include "sim/world.hpp"
#include "support/forwarding_store.hpp"

namespace remapfs::sim {

// The rows of a map as its store has loaded and committed them, kept by whoever looks at a volume from outside.
using Rows = std::map<std::uint64_t, RemapRow>;

// In all that a commit gives: the store itself counts and numbers.
inline bool same_row(const RemapRow& l, const RemapRow& r) {
  return l.block == r.block && l.mapping() == r.mapping() && l.written_mask == r.written_mask && l.cause == r.cause;
}
inline bool same_rows(const Rows& l, const Rows& r) {
  return std::ranges::equal(l, r,
                            [](const auto& one, const auto& other) { return same_row(one.second, other.second); });
}

// What a store has told of itself.
struct Observed {
  Rows rows;
  // The commit that is under way, or whose outcome is unknown: it may be there or not when the volume ends now.
  std::optional<MapTransaction> open;
  // The rows without those of the commits that something is missing of on a spare, and how many these are.
  Rows finished;
  unsigned unfinished = 0;
  // What a mount found that was never committed.
  std::optional<std::string> wrong;

  // Null: none.
  [[nodiscard]] const RemapRow* row(std::uint64_t block) const {
    const auto found = rows.find(block);
    return found == rows.end() ? nullptr : &found->second;
  }
  // As it would be with it.
  [[nodiscard]] const RemapRow* row_with_open(std::uint64_t block) const {
    const RemapRow* found = row(block);
    if (!open) return found;
    for (const MapChange& change : open->changes) {
      if (change.block.value() == block) found = change.kind == MapChange::Kind::put ? &change.row : nullptr;
    }
    return found;
  }

  // The rows as they would be with it.
  [[nodiscard]] Rows with_open() const {
    Rows all = rows;
    if (open) apply(*open, all);
    return all;
  }

  void all_finished() {
    finished = rows;
    unfinished = 0;
  }
  static void apply(const MapTransaction& transaction, Rows& rows) {
    for (const MapChange& change : transaction.changes) {
      if (change.kind == MapChange::Kind::erase) {
        rows.erase(change.block.value());
      } else {
        rows[change.block.value()] = change.row;
      }
    }
  }
};

// A store that tells what it does.
class ObservedStore final : public testing::ForwardingStore {
 public:
  ObservedStore(std::unique_ptr<MapStore> store, Observed& observed, const World& world)
      : ForwardingStore(std::move(store)), observed_(observed), world_(world) {}

  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    Rows loaded;
    auto done = inner().load([&](std::span<const RemapRow> rows) {
      for (const RemapRow& row : rows) loaded[row.block.value()] = row;
      return visit(rows);
    });
    if (!done) return done;
    if (!same_rows(loaded, observed_.rows) && !same_rows(loaded, observed_.with_open())) {
      observed_.wrong = "the rows of the map are not those that were committed";
    }
    observed_.rows = std::move(loaded);
    observed_.open.reset();
    observed_.all_finished();
    return done;
  }
  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    // What comes after one of unknown outcome, or after the end, is not carried out.
    if (!observed_.open && !world_.ended()) observed_.open = transaction;
    auto report = inner().commit(transaction);
    const bool unfinished = !report && !report.error().unfinished.empty();
    const bool durable = report || unfinished;
    if (!durable && !world_.ended() && report.error().error.code != Errc::commit_unknown) observed_.open.reset();
    if (!durable) return report;
    Observed::apply(transaction, observed_.rows);
    if (unfinished) {
      ++observed_.unfinished;
    } else {
      Observed::apply(transaction, observed_.finished);
    }
    observed_.open.reset();
    return report;
  }
  FinishedCommits finish_commits() override {
    auto now = inner().finish_commits();
    if (now.left.empty() && !world_.ended()) observed_.all_finished();
    return now;
  }

 private:
  Observed& observed_;
  const World& world_;
};

}  // namespace remapfs::sim
