// SPDX-License-Identifier: Apache-2.0
#include "store/row_consumer.hpp"

#include <system_error>
#include <utility>

namespace remapfs::store {

RowConsumer::RowConsumer(Consume consume) : consume_(std::move(consume)) {
  try {
    thread_ = std::thread(&RowConsumer::run, this);
  } catch (const std::system_error&) {
    return;  // hand_over() consumes
  }
}

RowConsumer::~RowConsumer() { static_cast<void>(finish()); }

Result<void> RowConsumer::outcome() const {
  if (failure_) return fail(*failure_);
  return {};
}

Result<void> RowConsumer::hand_over(std::vector<RemapRow>& batch) {
  MutexLock lock(mutex_);
  REMAPFS_INVARIANT(!ended_);
  while (!rows_.empty() && !failure_) changed_.wait(lock);
  if (failure_) return outcome();
  if (thread_.joinable()) {
    std::swap(rows_, batch);
    changed_.notify_all();
    return {};
  }
  auto consumed = consume_(batch);
  batch.clear();
  if (!consumed) failure_ = std::move(consumed.error());
  return outcome();
}

Result<void> RowConsumer::finish() {
  {
    const MutexLock lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  const MutexLock lock(mutex_);
  return outcome();
}

void RowConsumer::run() {
  std::vector<RemapRow> mine;
  MutexLock lock(mutex_);
  while (true) {
    while (rows_.empty() && !ended_) changed_.wait(lock);
    if (rows_.empty()) return;
    // One batch is consumed, one waits, one is being read.
    std::swap(mine, rows_);
    changed_.notify_all();
    lock.unlock();
    auto consumed = consume_(mine);
    mine.clear();
    lock.lock();
    if (consumed) continue;
    failure_ = std::move(consumed.error());
    changed_.notify_all();
    return;
  }
}

}  // namespace remapfs::store
