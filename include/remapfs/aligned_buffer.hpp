// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Owning byte buffer that starts at a page boundary, as O_DIRECT transfers need it.
//
// Units: bytes. Errors: allocation failure is Errc::no_memory. Threads: as a plain array.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 4096;
  // More is refused without asking for it: a sanitizer's allocator ends the program instead of refusing.
  static constexpr std::size_t kLargest = std::size_t{1} << 40U;

  // An empty buffer: no memory, size 0.
  AlignedBuffer() = default;

  // All bytes zero, which also touches every page: a later use cannot run out of memory.
  [[nodiscard]] static Result<AlignedBuffer> allocate(std::size_t size) {
    if (size > kLargest) return fail(Errc::no_memory);
    // aligned_alloc wants a multiple of the alignment.
    const std::size_t rounded = round_up(size == 0 ? 1 : size, kAlignment);
    void* memory = std::aligned_alloc(kAlignment, rounded);
    if (memory == nullptr) return fail(Errc::no_memory);
    std::memset(memory, 0, rounded);
    AlignedBuffer buffer;
    buffer.memory_.reset(static_cast<std::byte*>(memory));
    buffer.size_ = size;
    return buffer;
  }

  AlignedBuffer(AlignedBuffer&& other) noexcept : memory_(std::move(other.memory_)), size_(other.size_) {
    other.size_ = 0;
  }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = other.size_;
    if (this != &other) other.size_ = 0;
    return *this;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::byte* data() { return memory_.get(); }
  [[nodiscard]] const std::byte* data() const { return memory_.get(); }
  [[nodiscard]] std::span<std::byte> span() { return {memory_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> span() const { return {memory_.get(), size_}; }
  [[nodiscard]] std::span<std::byte> first(std::size_t n) { return span().first(n); }
  [[nodiscard]] std::span<std::byte> subspan(std::size_t at, std::size_t n) { return span().subspan(at, n); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_ = 0;
};

}  // namespace remapfs
