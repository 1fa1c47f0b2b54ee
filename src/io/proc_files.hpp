// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Small text files of the kernel's own filesystems (/proc, /sys).

namespace remapfs {

// The contents; nothing when it cannot be read. At most 16 MiB.
[[nodiscard]] std::optional<std::string> read_text_file(const std::string& path);
// The contents without white space and NULs at both ends.
[[nodiscard]] std::optional<std::string> read_attribute(const std::string& path);
// Names in a directory, sorted, without . and ..; empty when it cannot be read.
[[nodiscard]] std::vector<std::string> list_directory(const std::string& path);

// Parts of a text between separators; empty parts are left out.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);
// A decimal number that fills the whole text; nothing otherwise.
[[nodiscard]] std::optional<std::uint64_t> parse_decimal(std::string_view text);
// Undoes the \ooo escapes of /proc/mounts and its kin.
[[nodiscard]] std::string unescape_octal(std::string_view text);

}  // namespace remapfs
