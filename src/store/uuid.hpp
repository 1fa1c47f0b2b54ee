// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "remapfs/error.hpp"

namespace remapfs::store {

// A universally unique identifier (RFC 9562) as 16 bytes in the order of its text.
struct Uuid {
  std::array<std::byte, 16> bytes{};

  // A random one (version 4). Errors: device_other when the kernel has no randomness to give.
  static Result<Uuid> generate();
  // From "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", either case; nothing when it is not of that form.
  static std::optional<Uuid> parse(std::string_view text);
  // The same form, lower case.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const Uuid&, const Uuid&) = default;
};

}  // namespace remapfs::store
