// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace remapfs {

inline constexpr std::size_t kCacheLine = 64;

// Where the big arrays of core come from. Tests replace it by one that refuses.
// Threads: allocate() and release() from any thread.
class MemorySource {
 public:
  virtual ~MemorySource() = default;

  // Zero-filled memory aligned to kCacheLine, or nullptr. Large requests should not be touched before they are used.
  [[nodiscard]] virtual void* allocate(std::size_t bytes) noexcept = 0;
  // Gives back what allocate(bytes) returned.
  virtual void release(void* memory, std::size_t bytes) noexcept = 0;
};

// The memory of the process: the heap, and mappings in huge pages, untouched until used, for large arrays.
[[nodiscard]] MemorySource& process_memory();

}  // namespace remapfs
