// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "fuse/virtual_disk.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::fuse {

// A volume as the disk to serve. The volume outlives it.
class VolumeDisk final : public VirtualDisk {
 public:
  explicit VolumeDisk(Volume& volume) : volume_(volume) {}

  [[nodiscard]] ByteCount size() const override { return volume_.size(); }
  [[nodiscard]] bool read_only() const override { return volume_.read_only(); }

  Result<std::size_t> read(ByteOffset offset, std::span<std::byte> buffer) override {
    return volume_.read(offset, buffer);
  }
  Result<void> write(ByteOffset offset, std::span<const std::byte> data) override {
    return volume_.write(offset, data);
  }
  Result<void> flush() override { return volume_.flush(); }
  [[nodiscard]] std::uint64_t generation() const override { return volume_.generation(); }
  Result<void> zero(ByteRange range) override { return volume_.zero(range); }
  Result<void> punch(ByteRange range) override { return volume_.punch(range); }
  [[nodiscard]] bool can_punch() const override { return volume_.can_punch(); }
  Result<ByteOffset> seek_data(ByteOffset from) override { return volume_.seek_data(from); }
  Result<ByteOffset> seek_hole(ByteOffset from) override { return volume_.seek_hole(from); }

  bool begin(DirectAccess& access, ByteRange range, const std::byte* memory, bool write) override {
    return volume_.begin(access, range, memory, write);
  }
  bool end(DirectAccess& access) override { return volume_.end(access); }
  Result<void> recover(DirectAccess& access, std::byte* memory) override { return volume_.recover(access, memory); }
  [[nodiscard]] Error failure_of(const DirectAccess::Part& part, int os_errno) const override {
    return part.device->failure_of(os_errno);
  }

 private:
  Volume& volume_;
};

}  // namespace remapfs::fuse
