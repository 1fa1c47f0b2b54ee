// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "support/counted_allocations.hpp"

// Preloaded into a program under test: counts how often each process asks for memory, in the file
// $COUNTED_ALLOCATIONS, which is to hold a CountedAllocations.

using remapfs::testing::CountedAllocations;

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

// Before any constructor there is none, and what is asked for then is not counted.
std::atomic<CountedAllocations*> counts{nullptr};

[[gnu::constructor]] void map_counts() {
  const char* const path = std::getenv("COUNTED_ALLOCATIONS");
  const int fd = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* const memory = ::mmap(nullptr, sizeof(CountedAllocations), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory != MAP_FAILED) counts = static_cast<CountedAllocations*>(memory);
}

void count() {
  CountedAllocations* const all = counts.load(std::memory_order_relaxed);
  if (all == nullptr) return;
  const int error = errno;
  const pid_t mine = ::getpid();
  for (auto& one : all->processes) {
    pid_t process = one.process.load();
    if (process == 0) one.process.compare_exchange_strong(process, mine);
    if (one.process.load() != mine) continue;
    one.count.fetch_add(1);
    break;
  }
  errno = error;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  count();
  return __libc_calloc(number, size);
}
void* realloc(void* memory, std::size_t size) {
  count();
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"
