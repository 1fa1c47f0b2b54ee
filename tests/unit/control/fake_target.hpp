// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "control/block_verbs.hpp"

namespace remapfs::testing {

// A target that does what the test tells it, and remembers what it was asked.
class FakeTarget final : public ControlTarget {
 public:
  Result<Outcome> apply(Verb verb, BlockIndex block) override {
    {
      const std::lock_guard lock(mutex_);
      asked_.emplace_back(verb, block.value());
    }
    asked_more_.notify_all();
    return on_apply ? on_apply(verb, block) : Outcome::done;
  }
  Result<void> import_entries(std::span<const ImportRun> runs, ImportCounts& counts) override {
    return on_import ? on_import(runs, counts) : Result<void>();
  }
  Result<JobReply> scrub(const ScrubRequest& request) override { return on_scrub ? on_scrub(request) : JobReply{}; }
  Result<JobReply> replace(const ReplaceRequest& request) override {
    return on_replace ? on_replace(request) : JobReply{};
  }
  Result<Outcome> add_spare(const std::string& path) override {
    return on_add_spare ? on_add_spare(path) : Outcome::done;
  }
  Result<Outcome> retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) override {
    return on_retire_spare ? on_retire_spare(id, moved) : Outcome::done;
  }
  Result<Outcome> record_smart(const std::vector<SmartReading>& readings) override {
    return on_record_smart ? on_record_smart(readings) : Outcome::done;
  }
  Result<Outcome> resume() override { return on_resume ? on_resume() : Outcome::done; }
  Result<StatusReport> status() override { return on_status ? on_status() : StatusReport{}; }
  Result<Outcome> unmount() override { return on_unmount ? on_unmount() : Outcome::done; }
  Result<Outcome> upgrade(const std::string& program) override {
    return on_upgrade ? on_upgrade(program) : Outcome::done;
  }
  [[nodiscard]] std::uint64_t block_count() const override { return blocks; }

  [[nodiscard]] std::vector<std::pair<Verb, std::uint64_t>> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  // Waits until at least n blocks were asked for.
  bool wait_asked(std::size_t n, std::chrono::seconds timeout = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    return asked_more_.wait_for(lock, timeout, [&] { return asked_.size() >= n; });
  }

  std::uint64_t blocks = 1000;
  std::function<Result<Outcome>(Verb, BlockIndex)> on_apply;
  std::function<Result<void>(std::span<const ImportRun>, ImportCounts&)> on_import;
  std::function<Result<JobReply>(const ScrubRequest&)> on_scrub;
  std::function<Result<JobReply>(const ReplaceRequest&)> on_replace;
  std::function<Result<Outcome>(const std::string&)> on_add_spare;
  std::function<Result<Outcome>(SpareId, const std::function<bool(BlockIndex)>&)> on_retire_spare;
  std::function<Result<Outcome>(const std::vector<SmartReading>&)> on_record_smart;
  std::function<Result<Outcome>()> on_resume;
  std::function<Result<StatusReport>()> on_status;
  std::function<Result<Outcome>()> on_unmount;
  std::function<Result<Outcome>(const std::string&)> on_upgrade;

 private:
  mutable std::mutex mutex_;
  std::condition_variable asked_more_;
  std::vector<std::pair<Verb, std::uint64_t>> asked_;
};

}  // namespace remapfs::testing
