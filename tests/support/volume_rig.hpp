// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "io/device_slice.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "remapfs/volume.hpp"
#include "support/borrowed_device.hpp"
#include "support/fake_disk.hpp"
#include "support/memory_map.hpp"

namespace remapfs::testing {

// With a descriptor, which after a loss works only when it was opened again.
class BorrowedDescriptor final : public BorrowedDevice {
 public:
  static constexpr int kNumber = 1 << 20;  // of no file

  BorrowedDescriptor(BlockDevice& device, std::atomic<bool>& stale) : BorrowedDevice(device), stale_(stale) {}
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override {
    return stale_ ? fail(Errc::device_gone) : BorrowedDevice::read_exact(offset, buffer);
  }
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override {
    return stale_ ? fail(Errc::device_gone) : BorrowedDevice::write_all(offset, data);
  }
  Result<void> sync() override { return stale_ ? fail(Errc::device_gone) : BorrowedDevice::sync(); }
  Result<void> reopen() override {
    auto reopened = BorrowedDevice::reopen();
    if (reopened) stale_ = false;
    return reopened;
  }
  [[nodiscard]] int native_handle() const override { return kNumber; }

 private:
  std::atomic<bool>& stale_;
};

struct RigOptions {
  std::uint64_t disk_bytes = 4U << 20U;
  std::uint64_t block_size = 4096;
  std::uint64_t slots = 256;
  std::uint32_t logical_block = 512;
  std::uint32_t spare_logical_block = 0;  // 0: as the primary's
  int spares = 1;
  bool punches_cheaply = false;
  bool one_disk = false;  // the spare is the end of the primary, whose descriptor it shares
};

// Keeps the map of a rig that is not to be kept in memory alone. `map` mirrors what is committed.
class MapBackend {
 public:
  virtual ~MapBackend() = default;
  // Makes the map; fills map.info.
  virtual void create(const RigOptions& options, MemoryMap& map, FakeDisk& spare) = 0;
  virtual Result<std::unique_ptr<MapStore>> open(MemoryMap& map, BlockDevice& spare) = 0;
  // The store that is open now will not be closed in order.
  virtual void abandon() = 0;
};

// A volume on simulated disks and a map in memory, unless it is given a backend. Can be unmounted and mounted again.
class VolumeRig {
 public:
  static constexpr std::uint64_t kFirstSlot = 64 << 10;

  explicit VolumeRig(const RigOptions& options = {}, std::unique_ptr<MapBackend> backend = nullptr)
      : options_(options), backend_(std::move(backend)) {
    DeviceGeometry geometry;
    geometry.logical_block = options.logical_block;
    geometry.physical_block = options.logical_block;
    geometry.memory_alignment = 512;
    geometry.punches_cheaply = options.punches_cheaply;
    const std::uint64_t end = options.one_disk ? spare_bytes() : 0;
    primary = std::make_unique<FakeDisk>(ByteCount(options.disk_bytes + end), geometry, "primary");
    map.info.uuid = "rig";
    map.info.block_size = options.block_size;
    map.info.size = ByteCount(options.disk_bytes);
    geometry.punches_cheaply = false;
    if (options.spare_logical_block != 0) {
      geometry.logical_block = options.spare_logical_block;
      geometry.physical_block = options.spare_logical_block;
    }
    for (int i = 1; i <= options.spares; ++i) {
      const auto id = static_cast<SpareId>(i);
      // A backend puts its own tables in front of the slots.
      const std::uint64_t tables = backend_ ? 3U << 20U : 0;
      const ByteCount size(spare_bytes() + tables);
      if (!options.one_disk) spares.push_back(std::make_unique<FakeDisk>(size, geometry, "spare"));
      map.info.spares.push_back({id, "spare", "uuid", options.slots, ByteOffset(kFirstSlot), {}, false});
    }
    if (backend_) backend_->create(options_, map, spare());
    mount();
  }

  // The store of a volume that is closed only now may need the backend.
  ~VolumeRig() { volume.reset(); }
  VolumeRig(const VolumeRig&) = delete;
  VolumeRig& operator=(const VolumeRig&) = delete;

  void mount(VolumeOptions volume_options = {}) {
    Result<void> mounted = try_mount(std::move(volume_options));
    ASSERT_TRUE(mounted) << describe(mounted.error());
  }

  Result<void> try_mount(VolumeOptions volume_options) {
    volume.reset();
    if (next && map.primary && map.primary->path == next->name()) primary = std::move(next);
    VolumeParts parts;
    MemoryMapStore::Spares devices;
    if (options_.one_disk) {
      const auto whole = std::make_shared<BorrowedDescriptor>(*primary, stale);
      const ByteOffset between(options_.disk_bytes);
      const ByteOffset end(primary->geometry().size.value());
      parts.primary = std::make_unique<MemberDevice>(*DeviceSlice::make(whole, {ByteOffset(0), between}));
      parts.spares[1] = std::make_unique<MemberDevice>(*DeviceSlice::make(whole, {between, end}), parts.primary.get());
      devices[1] = parts.spares[1].get();
    } else {
      parts.primary = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(*primary));
    }
    for (std::size_t i = 0; i < spares.size(); ++i) {
      const auto id = static_cast<SpareId>(i + 1);
      parts.spares[id] = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(*spares[i]));
      devices[id] = parts.spares[id].get();
    }
    if (backend_) {
      auto opened = backend_->open(map, *parts.spares.at(1));
      if (!opened) return fail(opened.error());
      parts.store = std::move(*opened);
    } else {
      auto made = std::make_unique<MemoryMapStore>(map, std::move(devices));
      store = made.get();
      parts.store = std::move(made);
    }
    auto opened = Volume::open(std::move(parts), std::move(volume_options));
    if (!opened) return fail(opened.error());
    volume = std::move(*opened);
    return {};
  }

  // Unmounts in order.
  void unmount() {
    if (!volume) return;
    ASSERT_TRUE(volume->close());
    volume.reset();
  }
  // As after kill -9: nothing is closed. With a backend only; the map in memory has nothing to be closed.
  void kill() {
    if (backend_) backend_->abandon();
    volume.reset();
  }
  void remount() {
    unmount();
    mount();
  }

  // A disk that was made ready to be spare `id`.
  NewSpare ready_spare(SpareId id, std::uint64_t slots = 256, DeviceGeometry geometry = {}) {
    geometry.memory_alignment = 512;
    const ByteCount size(kFirstSlot + slots * options_.block_size + 4096);
    spares.push_back(std::make_unique<FakeDisk>(size, geometry, "more"));
    NewSpare spare;
    spare.info = {id, "more", "uuid", slots, ByteOffset(kFirstSlot), {}, false};
    spare.device = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(*spares.back()));
    return spare;
  }

  // A disk to take the primary's place, with junk on it. A mount after the map has it uses it.
  NewPrimary ready_primary(DeviceGeometry geometry = {}) {
    geometry.memory_alignment = 512;
    next = std::make_unique<FakeDisk>(ByteCount(options_.disk_bytes), geometry, "next");
    next->poke(ByteOffset(0), std::vector<std::byte>(options_.disk_bytes, std::byte{0xEE}));
    return {{"next", "its identity"}, std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(*next)), false};
  }

  [[nodiscard]] FakeDisk& spare() { return options_.one_disk ? *primary : *spares.front(); }
  [[nodiscard]] BlockGeometry geometry() const { return BlockGeometry(options_.block_size); }

  // The row of a block, if there is one.
  [[nodiscard]] std::optional<RemapRow> row(std::uint64_t block) const {
    const auto found = map.rows.find(block);
    if (found == map.rows.end()) return std::nullopt;
    return found->second;
  }

  Result<std::vector<std::byte>> read(std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    auto got = volume->read(ByteOffset(offset), bytes);
    if (!got) return fail(got.error());
    bytes.resize(*got);
    return bytes;
  }
  Result<void> write(std::uint64_t offset, const std::vector<std::byte>& bytes) {
    return volume->write(ByteOffset(offset), bytes);
  }

  // Carries out the parts of an access, as an engine does; what happens between begin() and end() is up to the caller.
  static void carry_out(DirectAccess& access, std::byte* memory) {
    for (DirectAccess::Part& part : access.all()) {
      std::byte* const place = memory + distance(access.range.begin, part.range.begin).value();
      const std::span bytes(place, part.range.size().value());
      const Result<void> done =
          access.write ? part.device->write_all(part.at, bytes) : part.device->read_exact(part.at, bytes);
      part.done = done.has_value();
      if (!done) part.error = done.error();
    }
  }
  // As read() and write(), by way of begin() and end() where the volume agrees.
  Result<std::vector<std::byte>> read_directly(std::uint64_t offset, std::size_t length) {
    AlignedBuffer buffer = *AlignedBuffer::allocate(round_up(std::max<std::size_t>(length, 1), 512));
    if (offset + length > volume->size().value()) return read(offset, length);
    if (!transfer_directly(offset, buffer.span().first(length), false)) return read(offset, length);
    if (!directly_) return fail(directly_.error());
    return std::vector<std::byte>(buffer.data(), buffer.data() + length);
  }
  Result<void> write_directly(std::uint64_t offset, const std::vector<std::byte>& bytes) {
    AlignedBuffer buffer = *AlignedBuffer::allocate(round_up(std::max<std::size_t>(bytes.size(), 1), 512));
    std::copy(bytes.begin(), bytes.end(), buffer.data());
    if (!transfer_directly(offset, buffer.span().first(bytes.size()), true)) return write(offset, bytes);
    return directly_;
  }

  std::unique_ptr<FakeDisk> primary;
  std::unique_ptr<FakeDisk> next;
  std::vector<std::unique_ptr<FakeDisk>> spares;
  MemoryMap map;
  MemoryMapStore* store = nullptr;  // without a backend
  std::unique_ptr<Volume> volume;
  std::atomic<bool> stale{false};  // of one disk: nothing works until it is opened again

 private:
  [[nodiscard]] std::uint64_t spare_bytes() const { return kFirstSlot + options_.slots * options_.block_size + 4096; }

  // False when the volume wants the request done otherwise.
  bool transfer_directly(std::uint64_t offset, std::span<std::byte> memory, bool write) {
    DirectAccess access;
    const ByteRange range{ByteOffset(offset), ByteOffset(offset + memory.size())};
    if (!volume->begin(access, range, memory.data(), write)) return false;
    carry_out(access, memory.data());
    directly_ = {};
    if (!volume->end(access)) directly_ = volume->recover(access, memory.data());
    return true;
  }

  Result<void> directly_;
  RigOptions options_;
  std::unique_ptr<MapBackend> backend_;
};

// Bytes that differ from sector to sector and from `version` to version.
inline std::vector<std::byte> pattern(std::uint64_t offset, std::size_t length, std::uint64_t version) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint64_t at = offset + i;
    const std::uint64_t word = (at / 8 + 1) * 0x9E3779B97F4A7C15ULL ^ (version + 1) * 0xC2B2AE3D27D4EB4FULL;
    bytes[i] = static_cast<std::byte>((word >> (at % 8 * 8)) & 0xFFU);
  }
  return bytes;
}

}  // namespace remapfs::testing
