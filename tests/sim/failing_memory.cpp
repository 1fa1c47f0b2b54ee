// SPDX-License-Identifier: Apache-2.0
#include "sim/failing_memory.hpp"

#include <cstdlib>
#include <new>

namespace remapfs::sim {
FailsOnce cpp_memory;
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
