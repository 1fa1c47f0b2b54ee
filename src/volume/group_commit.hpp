// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <vector>

#include "remapfs/map_store.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs {

// Lets threads commit together: while one commit is under way, the transactions of those who come meanwhile gather,
// and the first of them commits all as one. The store sees one caller at a time.
//
// Threads: every member. Cost: a commit alone costs what the store's costs; n at once cost little more than one.
class GroupCommit {
 public:
  explicit GroupCommit(MapStore& store) : store_(store) {}

  // Durable on success. When a transaction of the group cannot be written for reasons of its own (bad slots), all of
  // the group get that failure, with nothing changed: those without a bad slot simply commit again.
  tl::expected<CommitReport, CommitFailure> commit(MapTransaction transaction);

  // The row of a block as committed last. Errors: store, failed.
  Result<std::optional<RemapRow>> find_row(BlockIndex block);

  // Runs what must not meet a commit.
  void between_commits(const std::function<void()>& what);

  // Runs a change of the store's spares, which no commit meets. Errors: failed (the map is written no more), and its
  // own; after commit_unknown the map is written no more.
  Result<void> change_spares(const std::function<Result<void>(MapStore&)>& change);

  // No commit is under way and none will be accepted any more.
  Result<void> close();

  // A commit's outcome is unknown: the map is written no more.
  [[nodiscard]] bool broken() const;

  // Commits of the store so far, and the longest of them: every relocation waits for one.
  struct Figures {
    std::uint64_t commits = 0;
    std::chrono::nanoseconds longest{0};
  };
  [[nodiscard]] Figures figures() const;

 private:
  struct Waiting {
    MapTransaction transaction;
    bool done = false;
    tl::expected<CommitReport, CommitFailure> result;
  };

  void lead(const std::vector<Waiting*>& group);
  tl::expected<CommitReport, CommitFailure> commit_and_count(const MapTransaction& transaction);

  MapStore& store_;
  mutable Mutex mutex_;
  std::condition_variable_any turn_;
  bool busy_ GUARDED_BY(mutex_) = false;  // the store is in use
  bool closed_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;
  std::vector<Waiting*> queue_ GUARDED_BY(mutex_);
  Figures figures_ GUARDED_BY(mutex_);
};

}  // namespace remapfs
