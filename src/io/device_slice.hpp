// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "remapfs/block_device.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs {

// A device of which several slices may be in use. They have one descriptor, and the kernel tells it of a write that
// could not be stored once: whichever slice asks, all of them have to hear of it. The same holds for a device that was
// opened again, with whatever it had not stored yet gone. Threads: any.
class SharedDevice {
 public:
  explicit SharedDevice(std::unique_ptr<BlockDevice> device) : device_(std::move(device)) {}

  // How much of that a slice has heard.
  struct Heard {
    std::uint64_t failures = 0;
    std::uint64_t openings = 0;
  };

  [[nodiscard]] BlockDevice& device() const { return *device_; }
  // Fails as well for what failed since this slice asked last, once.
  Result<void> sync(Heard& heard) EXCLUDES(mutex_);
  // Nothing is done when another slice has opened it again since this one did.
  Result<void> reopen(Heard& heard) EXCLUDES(mutex_);

 private:
  const std::unique_ptr<BlockDevice> device_;
  Mutex mutex_;  // held over a sync and a reopen
  Heard now_ GUARDED_BY(mutex_);
  Error last_failure_ GUARDED_BY(mutex_);
};

// A stretch of a device, as a device of its own. The device is open as long as a slice of it is.
// Threads, errors: as BlockDevice.
class DeviceSlice final : public BlockDevice {
 public:
  // Errors: invalid (not inside the device, smaller than a sector, or off its grid: an end may only be off it where the
  // device's own is).
  [[nodiscard]] static Result<std::unique_ptr<DeviceSlice>> make(std::shared_ptr<SharedDevice> whole, ByteRange range);
  // From there to the end of the device; the device itself where that is all of it.
  [[nodiscard]] static Result<std::unique_ptr<BlockDevice>> rest_of(std::unique_ptr<BlockDevice> device,
                                                                    ByteOffset begin);

  [[nodiscard]] const DeviceGeometry& geometry() const override { return geometry_; }
  [[nodiscard]] const std::string& name() const override { return device().name(); }
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override;
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override;
  Result<void> sync() override { return whole_->sync(heard_); }
  Result<void> zero_range(ByteRange range) override { return device().zero_range(behind(range)); }
  Result<void> punch_hole(ByteRange range) override { return device().punch_hole(behind(range)); }
  Result<ByteOffset> seek_data(ByteOffset from) override;
  Result<ByteOffset> seek_hole(ByteOffset from) override;
  void drop_cache(ByteRange range) override { device().drop_cache(behind(range)); }
  Result<void> reopen() override { return whole_->reopen(heard_); }
  [[nodiscard]] std::string stamp() const override { return device().stamp(); }
  [[nodiscard]] int native_handle() const override { return device().native_handle(); }
  [[nodiscard]] ByteOffset native_begin() const override { return device().native_begin() + range_.begin.value(); }
  [[nodiscard]] bool ready_for(bool write) const override { return device().ready_for(write); }
  [[nodiscard]] Error failure_of(int os_errno) const override { return device().failure_of(os_errno); }

 private:
  DeviceSlice(std::shared_ptr<SharedDevice> whole, ByteRange range);
  [[nodiscard]] BlockDevice& device() const { return whole_->device(); }
  [[nodiscard]] ByteOffset behind(ByteOffset at) const { return at + range_.begin.value(); }
  [[nodiscard]] ByteRange behind(ByteRange range) const { return {behind(range.begin), behind(range.end)}; }
  [[nodiscard]] bool holds(ByteOffset offset, std::uint64_t length) const {
    return offset.value() <= geometry_.size.value() && length <= geometry_.size.value() - offset.value();
  }

  const std::shared_ptr<SharedDevice> whole_;
  const ByteRange range_;
  const DeviceGeometry geometry_;
  SharedDevice::Heard heard_;  // guarded by the mutex of whole_
};

}  // namespace remapfs
