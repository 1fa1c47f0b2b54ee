// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/unique_fd.hpp"

namespace remapfs::fuse::test {

inline UniqueFd open_file(const std::string& path, int flags) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

// What a call returned, or the negative errno.
inline ssize_t read_at(const UniqueFd& file, std::span<std::byte> buffer, off_t offset) {
  const ssize_t length = ::pread(file.get(), buffer.data(), buffer.size(), offset);
  return length < 0 ? -errno : length;
}
inline ssize_t write_at(const UniqueFd& file, std::span<const std::byte> data, off_t offset) {
  const ssize_t length = ::pwrite(file.get(), data.data(), data.size(), offset);
  return length < 0 ? -errno : length;
}
inline int error_of(int result) { return result < 0 ? errno : 0; }

inline std::vector<std::byte> bytes_of(std::size_t size, unsigned char value) {
  return std::vector<std::byte>(size, std::byte{value});
}

}  // namespace remapfs::fuse::test
