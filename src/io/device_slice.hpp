// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "remapfs/block_device.hpp"

namespace remapfs {

// A stretch of a device, as a device of its own. Several may share one, which is open as long as any of them is: they
// have its descriptor, and a sync of one is a sync of all.
// Threads, errors: as BlockDevice.
class DeviceSlice final : public BlockDevice {
 public:
  // Errors: invalid (not inside the device, smaller than a sector, or off its grid: an end may only be off it where the
  // device's own is).
  [[nodiscard]] static Result<std::unique_ptr<DeviceSlice>> make(std::shared_ptr<BlockDevice> device, ByteRange range);
  // From there to the end of the device; the device itself where that is all of it. Errors: also not_found (the device
  // ends before).
  [[nodiscard]] static Result<std::unique_ptr<BlockDevice>> rest_of(std::unique_ptr<BlockDevice> device,
                                                                    ByteOffset begin);

  [[nodiscard]] const DeviceGeometry& geometry() const override { return geometry_; }
  [[nodiscard]] const std::string& name() const override { return device_->name(); }
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override;
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override;
  Result<void> sync() override { return device_->sync(); }
  Result<void> zero_range(ByteRange range) override { return device_->zero_range(behind(range)); }
  Result<void> punch_hole(ByteRange range) override { return device_->punch_hole(behind(range)); }
  Result<ByteOffset> seek_data(ByteOffset from) override;
  Result<ByteOffset> seek_hole(ByteOffset from) override;
  void drop_cache(ByteRange range) override { device_->drop_cache(behind(range)); }
  Result<void> reopen() override { return device_->reopen(); }
  [[nodiscard]] std::string stamp() const override { return device_->stamp(); }
  [[nodiscard]] int native_handle() const override { return device_->native_handle(); }
  [[nodiscard]] ByteOffset native_begin() const override { return device_->native_begin() + range_.begin.value(); }
  [[nodiscard]] bool ready_for(bool write) const override { return device_->ready_for(write); }
  [[nodiscard]] Error failure_of(int os_errno) const override { return device_->failure_of(os_errno); }

 private:
  DeviceSlice(std::shared_ptr<BlockDevice> device, ByteRange range);
  [[nodiscard]] ByteOffset behind(ByteOffset at) const { return at + range_.begin.value(); }
  [[nodiscard]] ByteRange behind(ByteRange range) const { return {behind(range.begin), behind(range.end)}; }
  [[nodiscard]] bool holds(ByteOffset offset, std::uint64_t length) const {
    return offset.value() <= geometry_.size.value() && length <= geometry_.size.value() - offset.value();
  }

  const std::shared_ptr<BlockDevice> device_;
  const ByteRange range_;
  const DeviceGeometry geometry_;
};

}  // namespace remapfs
