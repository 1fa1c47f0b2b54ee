// SPDX-License-Identifier: Apache-2.0
#include "volume/group_commit.hpp"

#include <algorithm>
#include <utility>

namespace remapfs {

namespace {
template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}
}  // namespace

bool GroupCommit::Waiting::wait_until_done() {
  MutexLock lock(mutex_);
  while (told_ == Told::nothing) told_something_.wait(lock);
  return told_ == Told::done;
}

// Whoever waits may be gone as soon as the lock is let go.
void GroupCommit::Waiting::tell(bool done) {
  const MutexLock lock(mutex_);
  told_ = done ? Told::done : Told::to_lead;
  told_something_.notify_one();
}

tl::expected<CommitReport, CommitFailure> GroupCommit::commit(MapTransaction transaction) {
  Waiting mine(std::move(transaction));
  bool leads = false;
  {
    const MutexLock lock(mutex_);
    queue_.push_back(&mine);
    leads = !std::exchange(busy_, true);
  }
  if (!leads && mine.wait_until_done()) return std::move(mine.result);
  std::vector<Waiting*> group;
  {
    const MutexLock lock(mutex_);
    if (broken_ || closed_) {
      std::erase(queue_, &mine);
      pass_on();
      return tl::unexpected<CommitFailure>({Error{Errc::failed, 0, {}}, {}, {}});
    }
    group.swap(queue_);
  }
  lead(group, &mine);
  return std::move(mine.result);
}

// Others first: they are few, and a commit takes everybody who waits for one.
void GroupCommit::pass_on() {
  if (others_ == 0 && !queue_.empty()) return queue_.front()->tell(false);
  busy_ = false;
  if (others_ > 0) turn_.notify_one();
}

void GroupCommit::take_turn() {
  ++others_;
  while (busy_) turn_.wait(mutex_);
  --others_;
  busy_ = true;
}

void GroupCommit::lead(const std::vector<Waiting*>& group, const Waiting* mine) {
  MapTransaction all;
  for (Waiting* one : group) {
    append(all.changes, one->transaction.changes);
    append(all.retired_slots, one->transaction.retired_slots);
    append(all.events, one->transaction.events);
    append(all.smart, one->transaction.smart);
    if (one->transaction.primary_stamp) all.primary_stamp = one->transaction.primary_stamp;
    if (one->transaction.primary) all.primary = one->transaction.primary;
    if (one->transaction.scrub) all.scrub = one->transaction.scrub;
  }
  const auto is_unknown = [](const auto& result) {
    return !result && result.error().error.code == Errc::commit_unknown;
  };
  const auto result = commit_and_count(all);
  bool unknown = is_unknown(result);
  // One of them asks for what cannot be, or not now: the others are not to suffer for it.
  const auto asks_too_much = [](const CommitFailure& failure) {
    return failure.unfinished.empty() && (failure.error.code == Errc::invalid || failure.error.code == Errc::suspended);
  };
  const bool each_alone = group.size() > 1 && !result && asks_too_much(result.error());
  for (Waiting* one : group) {
    if (!each_alone) {
      one->result = result;
    } else if (unknown) {
      one->result = tl::unexpected<CommitFailure>({Error{Errc::failed, 0, {}}, {}, {}});
    } else {
      one->result = commit_and_count(one->transaction);
      unknown = is_unknown(one->result);
    }
  }

  {
    const MutexLock lock(mutex_);
    if (unknown) broken_ = true;
    pass_on();
  }
  for (Waiting* one : group) {
    if (one != mine) one->tell(true);
  }
}

tl::expected<CommitReport, CommitFailure> GroupCommit::commit_and_count(const MapTransaction& transaction) {
  const auto start = std::chrono::steady_clock::now();
  auto result = store_.commit(transaction);
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
  MutexLock lock(mutex_);
  ++figures_.commits;
  figures_.longest = std::max(figures_.longest, took);
  return result;
}

void GroupCommit::between_commits(const std::function<void()>& what) {
  {
    const MutexLock lock(mutex_);
    take_turn();
  }
  what();
  const MutexLock lock(mutex_);
  pass_on();
}

Result<void> GroupCommit::change_spares(const std::function<Result<void>(MapStore&)>& change) {
  Result<void> changed = fail(Errc::failed);
  between_commits([&] {
    if (broken()) return;
    changed = change(store_);
    if (changed || changed.error().code != Errc::commit_unknown) return;
    const MutexLock lock(mutex_);
    broken_ = true;
  });
  return changed;
}

Result<FinishedCommits> GroupCommit::finish() {
  Result<FinishedCommits> finished = fail(Errc::failed);
  between_commits([&] {
    if (!broken()) finished = store_.finish_commits();
  });
  return finished;
}

Result<std::optional<RemapRow>> GroupCommit::find_row(BlockIndex block) {
  Result<std::optional<RemapRow>> row;
  between_commits([&] {
    if (broken()) {
      row = fail(Errc::failed);
    } else {
      row = store_.find_row(block);
    }
  });
  return row;
}

Result<void> GroupCommit::close() {
  const MutexLock lock(mutex_);
  take_turn();
  closed_ = true;
  auto closed = store_.close();
  pass_on();
  return closed;
}

GroupCommit::Figures GroupCommit::figures() const {
  MutexLock lock(mutex_);
  return figures_;
}

bool GroupCommit::broken() const {
  MutexLock lock(mutex_);
  return broken_;
}

}  // namespace remapfs
