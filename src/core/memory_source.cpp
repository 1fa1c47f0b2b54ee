// SPDX-License-Identifier: Apache-2.0
#include "core/memory_source.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace remapfs {
namespace {

class ProcessMemory final : public MemorySource {
 public:
  // calloc aligns to 16 only and aligned_alloc does not zero, so one line more is taken and the pointer that free()
  // needs is kept in the gap before the aligned start.
  void* allocate(std::size_t bytes) noexcept override {
    if (bytes > std::numeric_limits<std::size_t>::max() / 2) return nullptr;
    void* raw = std::calloc(bytes + kCacheLine, 1);
    if (raw == nullptr) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(raw);
    const std::size_t shift = kCacheLine - address % kCacheLine;
    auto* aligned = static_cast<std::byte*>(raw) + shift;
    static_assert(alignof(std::max_align_t) >= sizeof(raw), "the gap holds a pointer");
    std::memcpy(aligned - sizeof(raw), &raw, sizeof(raw));
    return aligned;
  }

  void release(void* memory, std::size_t /*bytes*/) noexcept override {
    void* raw = nullptr;
    std::memcpy(&raw, static_cast<std::byte*>(memory) - sizeof(raw), sizeof(raw));
    std::free(raw);
  }
};

}  // namespace

MemorySource& process_memory() {
  // Never destroyed: tables of static storage may outlive any static of ours.
  static MemorySource& source = *new ProcessMemory;
  return source;
}

}  // namespace remapfs
