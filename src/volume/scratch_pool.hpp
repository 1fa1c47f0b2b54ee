// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "remapfs/aligned_buffer.hpp"
#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Page-aligned working memory for requests that cannot use their caller's buffer: allocated and touched when the volume
// opens, so that the slow road never waits for memory which may only come from writing to this very disk.
//
// Threads: all members. Order: a thread takes its scratch before it enters or holds blocks, and takes only one.
class ScratchPool {
 public:
  // Room for the largest request with its unaligned ends, or for a batch of blocks; and beside it for two blocks.
  static constexpr std::size_t kMainSize = kMaxRequestSize + 2 * kMaxBlockSize;
  static constexpr std::size_t kAsideSize = 2 * kMaxBlockSize;

  class Scratch;

  // Errors: no_memory.
  static Result<std::unique_ptr<ScratchPool>> create(std::size_t count);

  // Waits for a free one.
  Scratch take();

 private:
  ScratchPool() = default;
  void give_back(AlignedBuffer* buffer);

  std::vector<AlignedBuffer> buffers_;
  Mutex mutex_;
  std::condition_variable_any given_back_;
  std::vector<AlignedBuffer*> free_ GUARDED_BY(mutex_);
};

// Working memory, given back when destroyed. Contents are arbitrary.
class ScratchPool::Scratch {
 public:
  Scratch(Scratch&& other) noexcept : pool_(other.pool_), buffer_(std::exchange(other.buffer_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (buffer_ != nullptr) pool_->give_back(buffer_);
  }

  [[nodiscard]] std::span<std::byte> main() const { return buffer_->span().first(kMainSize); }
  [[nodiscard]] std::span<std::byte> aside() const { return buffer_->span().subspan(kMainSize, kAsideSize); }

 private:
  friend class ScratchPool;
  Scratch(ScratchPool* pool, AlignedBuffer* buffer) : pool_(pool), buffer_(buffer) {}
  ScratchPool* pool_;
  AlignedBuffer* buffer_;
};

}  // namespace remapfs
