// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "remapfs/map_store.hpp"

namespace remapfs::testing {

// A store that passes everything on; tests change what they are about.
class ForwardingStore : public MapStore {
 public:
  explicit ForwardingStore(std::unique_ptr<MapStore> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] const VolumeInfo& info() const override { return inner_->info(); }
  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    return inner_->load(visit);
  }
  Result<std::optional<RemapRow>> find_row(BlockIndex block) override { return inner_->find_row(block); }
  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    return inner_->commit(transaction);
  }
  FinishedCommits finish_commits() override { return inner_->finish_commits(); }
  Result<void> add_spare(const SpareInfo& spare, const std::string& identity, BlockDevice& device) override {
    return inner_->add_spare(spare, identity, device);
  }
  Result<void> retire_spare(SpareId id) override { return inner_->retire_spare(id); }
  void wipe_spare(BlockDevice& device) const override { inner_->wipe_spare(device); }
  Result<void> close() override { return inner_->close(); }

 protected:
  [[nodiscard]] MapStore& inner() { return *inner_; }

 private:
  std::unique_ptr<MapStore> inner_;
};

}  // namespace remapfs::testing
