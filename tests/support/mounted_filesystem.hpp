// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "support/loop_device.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {

// A fresh file system on a loop device, mounted on a temporary directory for the scope. Needs root and the mkfs of the
// type. Throws std::runtime_error or std::system_error when it cannot be made.
class MountedFilesystem {
 public:
  // type: "ext4", "xfs" or "btrfs". The backing file is sparse.
  MountedFilesystem(const std::string& type, std::uint64_t size, const LoopOptions& loop = {});
  ~MountedFilesystem();
  MountedFilesystem(const MountedFilesystem&) = delete;
  MountedFilesystem& operator=(const MountedFilesystem&) = delete;

  [[nodiscard]] const std::string& mount_point() const { return mount_point_; }
  [[nodiscard]] const std::string& device() const { return loop_->path(); }
  [[nodiscard]] const std::string& backing_file() const { return image_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return mount_point_ + "/" + name; }

 private:
  TempDir directory_;
  std::string image_;
  std::string mount_point_;
  std::unique_ptr<LoopDevice> loop_;
};

// A tmpfs of limited size for the scope. Needs root. Throws std::system_error.
class MountedTmpfs {
 public:
  explicit MountedTmpfs(std::uint64_t size);
  ~MountedTmpfs();
  MountedTmpfs(const MountedTmpfs&) = delete;
  MountedTmpfs& operator=(const MountedTmpfs&) = delete;

  [[nodiscard]] std::string operator/(const std::string& name) const { return directory_ / name; }

 private:
  TempDir directory_;
};

// Runs a program without a shell, its output thrown away, and waits at most `seconds`. Its exit status, 124 when the
// time ran out, 127 when it could not be started.
int run_program(std::initializer_list<std::string> arguments, unsigned seconds = 60);

}  // namespace remapfs::testing
