// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "remapfs/error.hpp"

namespace remapfs::store {

// Writes numbers into bytes, least significant byte first, one after the other.
class ByteWriter {
 public:
  explicit ByteWriter(std::span<std::byte> out) : out_(out) {}

  void u64(std::uint64_t value) { put(value, 8); }
  void u32(std::uint32_t value) { put(value, 4); }
  void bytes(std::span<const std::byte> data) {
    for (const std::byte b : data) put(std::to_integer<std::uint8_t>(b), 1);
  }
  [[nodiscard]] std::size_t position() const { return at_; }

 private:
  void put(std::uint64_t value, std::size_t width) {
    REMAPFS_INVARIANT(at_ + width <= out_.size());
    for (std::size_t i = 0; i < width; ++i) out_[at_++] = static_cast<std::byte>(value >> (8 * i));
  }

  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

// Reads what ByteWriter wrote.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> in) : in_(in) {}

  std::uint64_t u64() { return get(8); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(get(4)); }
  void bytes(std::span<std::byte> out) {
    for (std::byte& b : out) b = static_cast<std::byte>(get(1));
  }

 private:
  std::uint64_t get(std::size_t width) {
    REMAPFS_INVARIANT(at_ + width <= in_.size());
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value |= std::to_integer<std::uint64_t>(in_[at_++]) << (8 * i);
    return value;
  }

  std::span<const std::byte> in_;
  std::size_t at_ = 0;
};

}  // namespace remapfs::store
