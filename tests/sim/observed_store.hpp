// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "remapfs/map_store.hpp"

namespace remapfs::sim {

// The rows of a map as its store has loaded and committed them, kept by whoever looks at a volume from outside.
using Rows = std::map<std::uint64_t, RemapRow>;

// A store that tells Rows what it does.
class ObservedStore final : public MapStore {
 public:
  ObservedStore(std::unique_ptr<MapStore> store, Rows& rows) : store_(std::move(store)), rows_(rows) {}

  [[nodiscard]] const VolumeInfo& info() const override { return store_->info(); }
  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    rows_.clear();
    return store_->load([&](std::span<const RemapRow> rows) {
      for (const RemapRow& row : rows) rows_[row.block.value()] = row;
      return visit(rows);
    });
  }
  Result<std::optional<RemapRow>> find_row(BlockIndex block) override { return store_->find_row(block); }
  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    auto report = store_->commit(transaction);
    if (!report) return report;
    for (const MapChange& change : transaction.changes) {
      if (change.kind == MapChange::Kind::erase) {
        rows_.erase(change.block.value());
      } else {
        rows_[change.block.value()] = change.row;
      }
    }
    return report;
  }
  Result<void> close() override { return store_->close(); }

 private:
  std::unique_ptr<MapStore> store_;
  Rows& rows_;
};

}  // namespace remapfs::sim
