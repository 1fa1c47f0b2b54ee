// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "support/counted_calls.hpp"
#include "support/next_function.hpp"

// Preloaded into a program under test: counts what each process calls, in the file $COUNTED_CALLS, which is to hold a
// CountedCalls.

using remapfs::testing::CountedCalls;
using remapfs::testing::next_function;

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

// Before any constructor there is none, and what is asked for then is not counted.
std::atomic<CountedCalls*> counts{nullptr};

// The code of the program.
std::uintptr_t code_begin = 0;
std::uintptr_t code_end = 0;

[[gnu::constructor]] void find_code() {
  // The first one is the program.
  ::dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void*) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& segment = object->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
          const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
          if (code_begin == 0) code_begin = begin;
          code_end = begin + segment.p_memsz;
        }
        return 1;
      },
      nullptr);
}

[[gnu::constructor]] void map_counts() {
  const char* const path = std::getenv("COUNTED_CALLS");
  const int fd = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* const memory = ::mmap(nullptr, sizeof(CountedCalls), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory != MAP_FAILED) counts = static_cast<CountedCalls*>(memory);
}

void count(std::atomic<std::uint64_t> CountedCalls::Process::*what) {
  CountedCalls* const all = counts.load(std::memory_order_relaxed);
  if (all == nullptr) return;
  const int error = errno;
  const pid_t mine = ::getpid();
  for (auto& one : all->processes) {
    pid_t process = one.process.load();
    if (process == 0) one.process.compare_exchange_strong(process, mine);
    if (one.process.load() != mine) continue;
    (one.*what).fetch_add(1);
    break;
  }
  errno = error;
}

void count_lock(void* caller) {
  const auto from = reinterpret_cast<std::uintptr_t>(caller);
  if (from >= code_begin && from < code_end) count(&CountedCalls::Process::locks);
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  count(&CountedCalls::Process::memory);
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  count(&CountedCalls::Process::memory);
  return __libc_calloc(number, size);
}
void* realloc(void* memory, std::size_t size) {
  count(&CountedCalls::Process::memory);
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  count(&CountedCalls::Process::memory);
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

// Those of std::mutex and std::shared_mutex.
#define COUNTED_LOCK(name, type)                               \
  int name(type* lock) {                                       \
    static auto* const original = next_function(&name, #name); \
    count_lock(__builtin_return_address(0));                   \
    return original(lock);                                     \
  }
COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_tryrdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_trywrlock, pthread_rwlock_t)
#undef COUNTED_LOCK

}  // extern "C"
