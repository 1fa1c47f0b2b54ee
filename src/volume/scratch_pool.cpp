// SPDX-License-Identifier: Apache-2.0
#include "volume/scratch_pool.hpp"

namespace remapfs {

Result<std::unique_ptr<ScratchPool>> ScratchPool::create(std::size_t count) {
  std::unique_ptr<ScratchPool> pool(new ScratchPool);
  pool->buffers_.reserve(count);
  MutexLock lock(pool->mutex_);
  for (std::size_t i = 0; i < count; ++i) {
    auto buffer = AlignedBuffer::allocate(kMainSize + kAsideSize);
    if (!buffer) return fail(std::move(buffer).error());
    pool->buffers_.push_back(std::move(*buffer));
  }
  for (AlignedBuffer& buffer : pool->buffers_) pool->free_.push_back(&buffer);
  return pool;
}

ScratchPool::Scratch ScratchPool::take() {
  MutexLock lock(mutex_);
  while (free_.empty()) given_back_.wait(lock);
  AlignedBuffer* buffer = free_.back();
  free_.pop_back();
  return Scratch(this, buffer);
}

void ScratchPool::give_back(AlignedBuffer* buffer) {
  {
    MutexLock lock(mutex_);
    free_.push_back(buffer);
  }
  given_back_.notify_one();
}

}  // namespace remapfs
