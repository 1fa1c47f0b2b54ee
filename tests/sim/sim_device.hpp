// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "remapfs/aligned_buffer.hpp"
#include "sim/failing_memory.hpp"
#include "sim/world.hpp"
#include "support/fake_disk.hpp"

namespace remapfs::sim {

// A FakeDisk in a World. Many may stand for one disk, one after the other, as mounts come and go.
class SimDevice final : public BlockDevice {
 public:
  SimDevice(testing::FakeDisk& disk, World& world) : disk_(disk), world_(world) {}

  [[nodiscard]] const DeviceGeometry& geometry() const override { return disk_.geometry(); }
  [[nodiscard]] const std::string& name() const override { return disk_.name(); }

  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override {
    const MachinesMemory enough;
    if (world_.step(false) != World::Fate::happens) return gone();
    return disk_.read_exact(offset, buffer);
  }
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override {
    return change([&] { return disk_.write_all(offset, data); },
                  [this, offset, data] {
                    return [this_disk = &disk_, offset, copy = std::vector(data.begin(), data.end())] {
                      auto buffer = AlignedBuffer::allocate(copy.size());
                      std::copy(copy.begin(), copy.end(), buffer->data());
                      static_cast<void>(this_disk->write_all(offset, buffer->span().first(copy.size())));
                    };
                  });
  }
  Result<void> sync() override {
    return change([this] { return disk_.sync(); }, [] { return [] {}; });
  }
  Result<void> zero_range(ByteRange range) override {
    return change(
        [&] { return disk_.zero_range(range); },
        [this, range] { return [this_disk = &disk_, range] { static_cast<void>(this_disk->zero_range(range)); }; });
  }
  Result<void> punch_hole(ByteRange range) override {
    return change(
        [&] { return disk_.punch_hole(range); },
        [this, range] { return [this_disk = &disk_, range] { static_cast<void>(this_disk->punch_hole(range)); }; });
  }
  Result<ByteOffset> seek_data(ByteOffset from) override { return disk_.seek_data(from); }
  Result<ByteOffset> seek_hole(ByteOffset from) override { return disk_.seek_hole(from); }
  void drop_cache(ByteRange range) override { disk_.drop_cache(range); }
  Result<void> reopen() override { return world_.ended() ? gone() : disk_.reopen(); }
  [[nodiscard]] int native_handle() const override { return -1; }
  [[nodiscard]] bool ready_for(bool /*write*/) const override { return true; }
  [[nodiscard]] Error failure_of(int os_errno) const override { return disk_.failure_of(os_errno); }

 private:
  static tl::unexpected<Error> gone() { return fail(Errc::device_gone, ENODEV); }

  // late: makes what does it after the program has ended.
  template <class Now, class Late>
  Result<void> change(Now&& now, Late&& late) {
    const MachinesMemory enough;
    switch (world_.step(true)) {
      case World::Fate::happens: return now();
      case World::Fate::nothing: break;
      case World::Fate::unheard:
        if (world_.late_write()) {
          world_.arrives_late(late());
        } else {
          static_cast<void>(now());
        }
        break;
    }
    return gone();
  }

  testing::FakeDisk& disk_;
  World& world_;
};

}  // namespace remapfs::sim
