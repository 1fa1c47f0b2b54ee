// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "remapfs/block_device.hpp"

namespace remapfs::testing {

// Forwards to a disk that outlives the volume, as real disks outlive their mounts.
class BorrowedDevice : public BlockDevice {
 public:
  explicit BorrowedDevice(BlockDevice& device) : device_(device) {}
  [[nodiscard]] const DeviceGeometry& geometry() const override { return device_.geometry(); }
  [[nodiscard]] const std::string& name() const override { return device_.name(); }
  Result<void> read_exact(ByteOffset o, std::span<std::byte> b) override { return device_.read_exact(o, b); }
  Result<void> write_all(ByteOffset o, std::span<const std::byte> d) override { return device_.write_all(o, d); }
  Result<void> sync() override { return device_.sync(); }
  Result<void> zero_range(ByteRange range) override { return device_.zero_range(range); }
  Result<void> punch_hole(ByteRange range) override { return device_.punch_hole(range); }
  Result<ByteOffset> seek_data(ByteOffset from) override { return device_.seek_data(from); }
  Result<ByteOffset> seek_hole(ByteOffset from) override { return device_.seek_hole(from); }
  void drop_cache(ByteRange range) override { device_.drop_cache(range); }
  Result<void> reopen() override { return device_.reopen(); }
  [[nodiscard]] int native_handle() const override { return device_.native_handle(); }
  [[nodiscard]] bool ready_for(bool write) const override { return device_.ready_for(write); }
  [[nodiscard]] Error failure_of(int os_errno) const override { return device_.failure_of(os_errno); }

 private:
  BlockDevice& device_;
};

}  // namespace remapfs::testing
