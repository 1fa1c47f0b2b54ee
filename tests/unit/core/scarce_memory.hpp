// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/memory_source.hpp"

namespace remapfs::testing {

// Memory that refuses what the test wants refused, and counts.
class ScarceMemory final : public MemorySource {
 public:
  ~ScarceMemory() override = default;

  void* allocate(std::size_t bytes) noexcept override {
    ++requests;
    if (bytes > largest || in_use + bytes > budget) {
      ++refusals;
      return nullptr;
    }
    void* memory = process_memory().allocate(bytes);
    if (memory != nullptr) in_use += bytes;
    return memory;
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    in_use -= bytes;
    process_memory().release(memory, bytes);
  }

  std::atomic<std::size_t> largest{std::numeric_limits<std::size_t>::max()};     // larger requests are refused
  std::atomic<std::size_t> budget{std::numeric_limits<std::size_t>::max() / 4};  // of bytes in use
  std::atomic<std::size_t> in_use{0};
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> refusals{0};
};

}  // namespace remapfs::testing
