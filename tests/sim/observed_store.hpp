// SPDX-License-Identifier: Apache-2.0
#pragma once

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

// What a store has told of itself.
struct Observed {
  Rows rows;
  // The commit that is under way, or whose outcome is unknown: it may be there or not when the volume ends now.
  std::optional<MapTransaction> open;

  [[nodiscard]] bool remapped(std::uint64_t block) const {
    const auto row = rows.find(block);
    return row != rows.end() && row->second.state == EntryState::remapped;
  }
  [[nodiscard]] bool remapped_with_open(std::uint64_t block) const {
    bool is = remapped(block);
    if (!open) return is;
    for (const MapChange& change : open->changes) {
      if (change.block.value() != block) continue;
      is = change.kind == MapChange::Kind::put && change.row.state == EntryState::remapped;
    }
    return is;
  }

  // The rows as they would be with it.
  [[nodiscard]] Rows with_open() const {
    Rows all = rows;
    if (open) apply(*open, all);
    return all;
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
    if (done) observed_ = {std::move(loaded), std::nullopt};
    return done;
  }
  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    observed_.open = transaction;
    auto report = inner().commit(transaction);
    if (!report && !world_.ended() && report.error().error.code != Errc::commit_unknown) observed_.open.reset();
    if (!report) return report;
    Observed::apply(transaction, observed_.rows);
    observed_.open.reset();
    return report;
  }

 private:
  Observed& observed_;
  const World& world_;
};

}  // namespace remapfs::sim
