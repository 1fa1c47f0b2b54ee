// SPDX-License-Identifier: Apache-2.0
#include "io/device_slice.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace remapfs {
namespace {

DeviceGeometry geometry_of(const BlockDevice& device, ByteRange range) {
  DeviceGeometry geometry = device.geometry();
  geometry.size = range.size();
  return geometry;
}

}  // namespace

DeviceSlice::DeviceSlice(std::shared_ptr<BlockDevice> device, ByteRange range)
    : device_(std::move(device)), range_(range), geometry_(geometry_of(*device_, range)) {}

Result<std::unique_ptr<DeviceSlice>> DeviceSlice::make(std::shared_ptr<BlockDevice> device, ByteRange range) {
  const DeviceGeometry& whole = device->geometry();
  const auto on_grid = [&](ByteOffset at) { return is_aligned(at.value(), whole.logical_block); };
  const bool inside = range.begin <= range.end && range.end.value() <= whole.size.value();
  if (!inside || range.size().value() < kSectorSize || !on_grid(range.begin) ||
      (!on_grid(range.end) && range.end.value() != whole.size.value())) {
    return fail(Errc::invalid, "bytes " + std::to_string(range.begin.value()) + " to " +
                                   std::to_string(range.end.value()) + ", not inside " + device->name() +
                                   " or off its logical blocks of " + std::to_string(whole.logical_block) +
                                   " bytes, use another device");
  }
  return std::unique_ptr<DeviceSlice>(new DeviceSlice(std::move(device), range));
}

Result<std::unique_ptr<BlockDevice>> DeviceSlice::rest_of(std::unique_ptr<BlockDevice> device, ByteOffset begin) {
  if (begin == ByteOffset(0)) return device;
  const ByteOffset end(device->geometry().size.value());
  if (end <= begin) {
    return fail(Errc::not_found, "nothing is there from byte " + std::to_string(begin.value()) + " on, " +
                                     device->name() + ", give it back its size");
  }
  return make(std::move(device), {begin, end});
}

// The device would go on behind the end of the slice.
Result<void> DeviceSlice::read_exact(ByteOffset offset, std::span<std::byte> buffer) {
  if (!holds(offset, buffer.size())) return fail(Errc::device_gone);
  return device_->read_exact(behind(offset), buffer);
}

Result<void> DeviceSlice::write_all(ByteOffset offset, std::span<const std::byte> data) {
  if (!holds(offset, data.size())) return fail(Errc::device_gone);
  return device_->write_all(behind(offset), data);
}

Result<ByteOffset> DeviceSlice::seek_data(ByteOffset from) {
  if (from.value() >= geometry_.size.value()) return fail(Errc::not_found);
  auto found = device_->seek_data(behind(from));
  if (!found) return found;
  if (*found >= range_.end) return fail(Errc::not_found);
  return ByteOffset(distance(range_.begin, *found).value());
}

Result<ByteOffset> DeviceSlice::seek_hole(ByteOffset from) {
  if (from.value() >= geometry_.size.value()) return ByteOffset(geometry_.size.value());
  auto found = device_->seek_hole(behind(from));
  if (!found) return found;
  return ByteOffset(distance(range_.begin, std::min(*found, range_.end)).value());
}

}  // namespace remapfs
