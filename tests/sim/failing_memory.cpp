// SPDX-License-Identifier: Apache-2.0
#include "sim/failing_memory.hpp"

#include <sqlite3.h>

#include <cstdlib>
#include <new>

namespace remapfs::sim {

FailsOnce cpp_memory;
FailsOnce sqlite_memory;

namespace {

sqlite3_mem_methods real_methods{};

// SQLite takes other methods only before its first use.
const bool is_counted = [] {
  sqlite3_mem_methods methods{};
  if (sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK) return false;
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &methods) != SQLITE_OK) return false;
  real_methods = methods;
  methods.xMalloc = [](int size) { return sqlite_memory.fails() ? nullptr : real_methods.xMalloc(size); };
  methods.xRealloc = [](void* old, int size) {
    return sqlite_memory.fails() ? nullptr : real_methods.xRealloc(old, size);
  };
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK;
}();

}  // namespace

bool sqlite_memory_is_counted() { return is_counted; }

}  // namespace remapfs::sim

namespace {
bool fails() { return !remapfs::sim::MachinesMemory::is_taken() && remapfs::sim::cpp_memory.fails(); }
}  // namespace

// They take the place of the library's for the whole program.
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t size);
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return fails() ? nullptr : __libc_memalign(alignment, size);
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const memory = fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
