// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cells.hpp"
#include "remapfs/error.hpp"

namespace faulty {

using remapfs::Result;

// The file or block device that holds the data of a faulty disk.
//
// Members of the I/O path return 0 or an errno, since that is all a request can be answered with.
// Threads: all members from any thread.
class DiskImage {
 public:
  // Opens the image for reading and writing and locks it (flock) against a second user.
  // Errors: not_found, permission, busy, invalid (empty, neither file nor block device), with a message.
  static Result<std::unique_ptr<DiskImage>> open(const std::string& path);
  ~DiskImage();
  DiskImage(const DiskImage&) = delete;
  DiskImage& operator=(const DiskImage&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] ByteCount size() const { return size_; }

  // Reads exactly data.size() bytes. An image that became shorter is EIO, never zeros.
  [[nodiscard]] int read(ByteOffset from, std::span<std::byte> data) const;
  // Writes all of data.
  [[nodiscard]] int write(ByteOffset to, std::span<const std::byte> data) const;
  // Makes the range read as zeros, and gives its space back if `punch`; writes zeros where neither is supported.
  [[nodiscard]] int zero(ByteRange range, bool punch) const;
  // Makes what was written durable.
  [[nodiscard]] int sync() const;
  // lseek() with SEEK_DATA or SEEK_HOLE. An image that cannot tell is all data.
  [[nodiscard]] int seek(ByteOffset from, int whence, ByteOffset& found) const;

 private:
  DiskImage(int fd, std::string path, ByteCount size) : fd_(fd), path_(std::move(path)), size_(size) {}

  int fd_;
  std::string path_;
  ByteCount size_;
};

}  // namespace faulty
