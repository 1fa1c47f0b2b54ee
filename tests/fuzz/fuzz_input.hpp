// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace remapfs::fuzz {

// Bytes of a fuzzer, taken as numbers from the front; zeros when they have run out.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  [[nodiscard]] bool empty() const { return left_.empty(); }
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes && !left_.empty(); ++i) {
      value |= std::uint64_t{left_.front()} << (8 * i);
      left_ = left_.subspan(1);
    }
    return value;
  }
  std::uint64_t below(std::uint64_t bound) { return number(4) % bound; }

 private:
  std::span<const std::uint8_t> left_;
};

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace remapfs::fuzz

// What every target defines.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
