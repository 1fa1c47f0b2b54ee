// SPDX-License-Identifier: Apache-2.0
#include "core/memory_source.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace remapfs {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;
// From here on memory is mapped in huge pages: a table of this size is read all over the place, and each small page
// would cost a miss of the TLB. Below, rounding up to huge pages would waste too much.
constexpr std::size_t kMappedFrom = 8 * kHugePage;

constexpr std::size_t round_up(std::size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

class ProcessMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) noexcept override {
    if (bytes > std::numeric_limits<std::size_t>::max() / 2) return nullptr;
    return bytes >= kMappedFrom ? map(round_up(bytes)) : take_from_heap(bytes);
  }

  void release(void* memory, std::size_t bytes) noexcept override {
    if (bytes >= kMappedFrom) {
      ::munmap(memory, round_up(bytes));
      return;
    }
    void* raw = nullptr;
    std::memcpy(&raw, static_cast<std::byte*>(memory) - sizeof(raw), sizeof(raw));
    std::free(raw);
  }

 private:
  // calloc aligns to 16 only and aligned_alloc does not zero, so one line more is taken and the pointer that free()
  // needs is kept in the gap before the aligned start.
  static void* take_from_heap(std::size_t bytes) noexcept {
    void* raw = std::calloc(bytes + kCacheLine, 1);
    if (raw == nullptr) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(raw);
    const std::size_t shift = kCacheLine - address % kCacheLine;
    auto* aligned = static_cast<std::byte*>(raw) + shift;
    static_assert(alignof(std::max_align_t) >= sizeof(raw), "the gap holds a pointer");
    std::memcpy(aligned - sizeof(raw), &raw, sizeof(raw));
    return aligned;
  }

  // Without access at first: where all memory is locked, mapping fills it at once, in small pages, unless the wish for
  // huge ones comes before the access.
  static void* map(std::size_t bytes) noexcept {
    void* const mapping = ::mmap(nullptr, bytes + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return nullptr;
    auto* const start = static_cast<std::byte*>(mapping);
    const std::size_t head = (kHugePage - reinterpret_cast<std::uintptr_t>(mapping) % kHugePage) % kHugePage;
    if (head != 0) ::munmap(start, head);
    ::munmap(start + head + bytes, kHugePage - head);
    static_cast<void>(::madvise(start + head, bytes, MADV_HUGEPAGE));  // slower where there are none
    if (::mprotect(start + head, bytes, PROT_READ | PROT_WRITE) == 0) return start + head;
    ::munmap(start + head, bytes);
    return nullptr;
  }
};

}  // namespace

MemorySource& process_memory() {
  // Never destroyed: tables of static storage may outlive any static of ours.
  static MemorySource& source = *new ProcessMemory;
  return source;
}

}  // namespace remapfs
