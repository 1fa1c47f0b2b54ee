// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "remapfs/map_store.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::store {

// Does something with each row while the next ones are being read: reading a large map from SQLite keeps one core
// busy, what becomes of its rows most of another.
//
// Batches are consumed one at a time, in the order in which they were handed over, by a thread of the consumer's own,
// or by the caller where a thread cannot be had. After a failure nothing more is consumed.
// Threads: one, beside the consumer's own.
class RowConsumer {
 public:
  // consume: must not throw; runs on the thread of the consumer, never after finish() or the destructor.
  using Consume = std::function<Result<void>(std::span<const RemapRow>)>;
  explicit RowConsumer(Consume consume);
  ~RowConsumer();
  RowConsumer(const RowConsumer&) = delete;
  RowConsumer& operator=(const RowConsumer&) = delete;

  // Takes the rows of `batch` and leaves it empty, with the memory of an earlier one. Waits while two batches are
  // under way. Errors: what consume answered to an earlier batch (or this one).
  Result<void> hand_over(std::vector<RemapRow>& batch) EXCLUDES(mutex_);
  // Waits until everything has been consumed. Errors: what consume answered.
  Result<void> finish() EXCLUDES(mutex_);

 private:
  void run() EXCLUDES(mutex_);
  [[nodiscard]] Result<void> outcome() const REQUIRES(mutex_);

  const Consume consume_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<RemapRow> rows_ GUARDED_BY(mutex_);  // handed over, not yet begun
  bool ended_ GUARDED_BY(mutex_) = false;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace remapfs::store
