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
  // The same for requests on a block or a few: many of them may move blocks at a time, and share commits.
  static constexpr std::size_t kSmallSize = 2 * kMaxBlockSize;
  static constexpr std::size_t kAsideSize = 2 * kMaxBlockSize;

  class Scratch;

  // small: how many there are with less room. Errors: no_memory.
  static Result<std::unique_ptr<ScratchPool>> create(std::size_t count, std::size_t small);

  // Waits for a free one with so much room; with the room aside in any case.
  Scratch take(std::size_t room = kMainSize);

 private:
  // Those of one size.
  struct Shelf {
    std::vector<AlignedBuffer> buffers;
    Mutex mutex;
    std::condition_variable_any given_back;
    std::vector<AlignedBuffer*> free GUARDED_BY(mutex);

    Result<void> fill(std::size_t count, std::size_t room);
  };

  ScratchPool() = default;
  static void give_back(Shelf& shelf, AlignedBuffer* buffer);

  Shelf large_;
  Shelf small_;
};

// Working memory, given back when destroyed. Contents are arbitrary.
class ScratchPool::Scratch {
 public:
  Scratch(Scratch&& other) noexcept : shelf_(other.shelf_), buffer_(std::exchange(other.buffer_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (buffer_ != nullptr) give_back(*shelf_, buffer_);
  }

  // At least as much as was asked for.
  [[nodiscard]] std::span<std::byte> main() const { return buffer_->span().first(buffer_->span().size() - kAsideSize); }
  [[nodiscard]] std::span<std::byte> aside() const { return buffer_->span().last(kAsideSize); }

 private:
  friend class ScratchPool;
  Scratch(Shelf& shelf, AlignedBuffer* buffer) : shelf_(&shelf), buffer_(buffer) {}
  Shelf* shelf_;
  AlignedBuffer* buffer_;
};

}  // namespace remapfs
