// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace remapfs::testing {

struct LoopOptions {
  std::uint32_t sector_size = 512;
  bool direct_io = false;
  bool read_only = false;
  bool partscan = false;
  std::uint64_t offset = 0;
};

// A loop device over a file, detached at the end of the scope. Needs root. Throws std::system_error when it cannot be
// made. Waits for nothing: detach what is mounted on it first.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& backing_file, const LoopOptions& options = {});
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  // "/dev/loop3"
  [[nodiscard]] const std::string& path() const { return path_; }
  // Takes over a changed size of the backing file.
  void refresh_size();
  // Before the end of the scope.
  void detach();

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace remapfs::testing
