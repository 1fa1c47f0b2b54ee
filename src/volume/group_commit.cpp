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

tl::expected<CommitReport, CommitFailure> GroupCommit::commit(MapTransaction transaction) {
  Waiting mine{std::move(transaction), false, {}};
  std::vector<Waiting*> group;
  {
    MutexLock lock(mutex_);
    queue_.push_back(&mine);
    while (busy_ && !mine.done) turn_.wait(lock);
    if (mine.done) return std::move(mine.result);
    if (broken_ || closed_) {
      std::erase(queue_, &mine);
      return tl::unexpected<CommitFailure>({Error{Errc::failed, 0, {}}, {}, {}});
    }
    busy_ = true;
    group.swap(queue_);
  }
  lead(group);
  return std::move(mine.result);
}

void GroupCommit::lead(const std::vector<Waiting*>& group) {
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
  // One of them asks for what cannot be: the others are not to suffer for it.
  const bool each_alone = group.size() > 1 && !result && result.error().error.code == Errc::invalid;
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
    MutexLock lock(mutex_);
    busy_ = false;
    if (unknown) broken_ = true;
    for (Waiting* one : group) one->done = true;
  }
  turn_.notify_all();
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
    MutexLock lock(mutex_);
    while (busy_) turn_.wait(lock);
    busy_ = true;
  }
  what();
  {
    MutexLock lock(mutex_);
    busy_ = false;
  }
  turn_.notify_all();
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
  MutexLock lock(mutex_);
  while (busy_) turn_.wait(lock);
  closed_ = true;
  return store_.close();
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
