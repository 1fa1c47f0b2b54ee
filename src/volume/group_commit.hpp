// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
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
  // the group get that failure, with nothing changed: those without a bad slot simply commit again. They are committed
  // one by one when one of them is invalid, or wants a spare that an earlier commit has to be finished on.
  tl::expected<CommitReport, CommitFailure> commit(MapTransaction transaction);

  // MapStore::finish_commits(). Errors: failed (the map is written no more).
  Result<FinishedCommits> finish();

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
  // A transaction, and whoever waits for it: on a condition of its own, so that nobody is woken for nothing.
  class Waiting {
   public:
    explicit Waiting(MapTransaction wanted) : transaction(std::move(wanted)) {}
    // Until it is told that its transaction is done, or (false) that it is to commit, for itself and others.
    bool wait_until_done() EXCLUDES(mutex_);
    void tell(bool done) EXCLUDES(mutex_);

    const MapTransaction transaction;
    tl::expected<CommitReport, CommitFailure> result;  // once it is done

   private:
    enum class Told : std::uint8_t { nothing, done, to_lead };
    Mutex mutex_;
    std::condition_variable_any told_something_;
    Told told_ GUARDED_BY(mutex_) = Told::nothing;
  };

  // Until the store is free, for something else than a commit.
  void take_turn() REQUIRES(mutex_);
  // Whoever was busy with the store is not any more: it is the next one's.
  void pass_on() REQUIRES(mutex_);
  // Commits for all of them, and tells all but `mine`.
  void lead(const std::vector<Waiting*>& group, const Waiting* mine);
  tl::expected<CommitReport, CommitFailure> commit_and_count(const MapTransaction& transaction);

  MapStore& store_;
  mutable Mutex mutex_;
  std::condition_variable_any turn_;
  bool busy_ GUARDED_BY(mutex_) = false;       // the store is in use
  std::size_t others_ GUARDED_BY(mutex_) = 0;  // who wait on turn_ for the store, but not for a commit
  bool closed_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;
  std::vector<Waiting*> queue_ GUARDED_BY(mutex_);
  Figures figures_ GUARDED_BY(mutex_);
};

}  // namespace remapfs
