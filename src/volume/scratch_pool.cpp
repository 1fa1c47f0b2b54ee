// SPDX-License-Identifier: Apache-2.0
#include "volume/scratch_pool.hpp"

namespace remapfs {

Result<void> ScratchPool::Shelf::fill(std::size_t count, std::size_t room) {
  buffers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto buffer = AlignedBuffer::allocate(room + kAsideSize);
    if (!buffer) return fail(std::move(buffer).error());
    buffers.push_back(std::move(*buffer));
  }
  const MutexLock lock(mutex);
  for (AlignedBuffer& buffer : buffers) free.push_back(&buffer);
  return {};
}

Result<std::unique_ptr<ScratchPool>> ScratchPool::create(std::size_t count, std::size_t small) {
  std::unique_ptr<ScratchPool> pool(new ScratchPool);
  if (auto filled = pool->large_.fill(count, kMainSize); !filled) return fail(std::move(filled).error());
  if (auto filled = pool->small_.fill(small, kSmallSize); !filled) return fail(std::move(filled).error());
  return pool;
}

ScratchPool::Scratch ScratchPool::take(std::size_t room) {
  Shelf& shelf = room <= kSmallSize ? small_ : large_;
  MutexLock lock(shelf.mutex);
  while (shelf.free.empty()) shelf.given_back.wait(lock);
  AlignedBuffer* buffer = shelf.free.back();
  shelf.free.pop_back();
  return Scratch(shelf, buffer);
}

void ScratchPool::give_back(Shelf& shelf, AlignedBuffer* buffer) {
  {
    const MutexLock lock(shelf.mutex);
    shelf.free.push_back(buffer);
  }
  shelf.given_back.notify_one();
}

}  // namespace remapfs
