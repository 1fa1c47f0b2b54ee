// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/posix_device.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "remapfs/block_device.hpp"
#include "support/loop_device.hpp"
#include "support/mounted_filesystem.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {

// A device under test together with what it stands on.
class DeviceSubject {
 public:
  virtual ~DeviceSubject() = default;
  [[nodiscard]] virtual BlockDevice& device() = 0;
};

// What BlockDevice promises, of every device. Devices are at least 3 MiB and hold zeros at first.
struct DeviceCase {
  std::string name;
  std::function<std::unique_ptr<DeviceSubject>()> make;
};
class BlockDeviceContract : public ::testing::TestWithParam<DeviceCase> {
 protected:
  void SetUp() override { subject_ = GetParam().make(); }
  [[nodiscard]] BlockDevice& device() { return subject_->device(); }
  [[nodiscard]] std::uint64_t size() { return device().geometry().size.value(); }
  [[nodiscard]] std::uint64_t grid() { return device().geometry().logical_block; }

 private:
  std::unique_ptr<DeviceSubject> subject_;
};

// Something with a path that open_device() takes. Files and devices of kOpenableSize bytes of zeros.
class Openable {
 public:
  virtual ~Openable() = default;
  [[nodiscard]] virtual std::string path() const = 0;
  // Cuts it to `size` bytes behind the back of whoever has it open.
  virtual void shrink(std::uint64_t size) = 0;
  [[nodiscard]] virtual DeviceOptions options() const { return {}; }
};
// Off every grid, the sector's too: 3 MiB, one sector and 100 bytes. Devices drop the part of a logical block.
inline constexpr std::uint64_t kOpenableSize = (3U << 20U) + 512 + 100;

struct OpenableCase {
  std::string name;
  std::function<std::unique_ptr<Openable>()> make;
};
// What open_device() promises beyond BlockDevice.
class OpenDeviceContract : public ::testing::TestWithParam<OpenableCase> {
 protected:
  void SetUp() override { openable_ = GetParam().make(); }
  [[nodiscard]] Openable& openable() { return *openable_; }
  [[nodiscard]] DeviceOptions options(bool read_only = false);
  // Opens it, or fails the test.
  [[nodiscard]] std::unique_ptr<BlockDevice> open();

 private:
  std::unique_ptr<Openable> openable_;
};

// A file that exists as long as the object.
class OpenableFile final : public Openable {
 public:
  // keep: whatever the directory stands on.
  OpenableFile(std::string path, DeviceOptions options, std::shared_ptr<void> keep);
  [[nodiscard]] std::string path() const override { return path_; }
  void shrink(std::uint64_t size) override;
  [[nodiscard]] DeviceOptions options() const override { return options_; }

 private:
  std::shared_ptr<void> keep_;
  std::string path_;
  DeviceOptions options_;
};

class OpenableLoop final : public Openable {
 public:
  explicit OpenableLoop(const LoopOptions& options);
  [[nodiscard]] std::string path() const override { return loop_->path(); }
  void shrink(std::uint64_t size) override;

 private:
  TempDir directory_;
  std::unique_ptr<LoopDevice> loop_;
};

// The same things as subjects of BlockDeviceContract.
[[nodiscard]] DeviceCase as_device_case(const OpenableCase& openable);

template <class Case>
std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

}  // namespace remapfs::testing
