// SPDX-License-Identifier: Apache-2.0
#include "sim/failing_memory.hpp"

#include <cstdlib>
#include <new>

namespace remapfs::sim {
FailingMemory cpp_memory;
}  // namespace remapfs::sim

// They take the place of the library's for the whole program.
[[gnu::noinline]] void* operator new(std::size_t size) {
  const bool fails = !remapfs::sim::MachinesMemory::is_taken() && remapfs::sim::cpp_memory.fails();
  void* const memory = fails ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
