// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "core/unique_fd.hpp"
#include "io/device_identity.hpp"
#include "io/sysfs.hpp"
#include "remapfs/block_device.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs {

// How to open a file or block device.
struct DeviceOptions {
  bool read_only = false;
  // Hold it alone: flock(LOCK_EX), and O_EXCL on block devices, which also keeps out mounts, swap and device mapper.
  bool exclusive = true;
  // How long to wait for another holder to let go. The kernel drops the locks of a killed process only with its last
  // transfer in flight, and udev locks a disk for a moment after each change.
  std::chrono::milliseconds lock_wait{500};
  // False: buffered with O_DSYNC even where O_DIRECT works.
  bool try_direct = true;
  KernelViews views;
};

// Opens a regular file or block device.
//
// With O_DIRECT where the file system takes it, else buffered with O_DSYNC: see warning_for().
// A file that is not a multiple of the logical block: its last bytes, less than one block, go through a second,
// buffered O_DSYNC descriptor whose cache is dropped before each read, so that the file never grows. Errors: busy
// (names the holder where that is cheap), not_found, permission, read_only, invalid (wrong kind of file,
//   less than a sector), device errors; all with "what, where, what to do".
// Cost: some system calls; up to lock_wait when somebody else holds it.
[[nodiscard]] Result<std::unique_ptr<BlockDevice>> open_device(const std::string& path,
                                                               const DeviceOptions& options = {});

// What a person has to know about an open device, "what, where, what to do": that it is not read and written directly,
// so that media errors may be noticed late. Empty when all is well.
[[nodiscard]] std::string warning_for(const BlockDevice& device);

namespace io_detail {

// Descriptors of one device, opened and locked, and what was found out about them.
struct OpenedFiles {
  UniqueFd main;
  UniqueFd tail;  // buffered, O_DSYNC; only when the size of a file is off the grid
  DeviceGeometry geometry;
  DeviceIdentity identity;
  // Discards off this grid go as written zeros: a file system zeroes parts of a page or of its block in the page cache,
  // where a media error shows only in a later sync that no longer knows the sector.
  std::uint64_t discard_grid = 4096;
};

[[nodiscard]] Result<OpenedFiles> open_files(const std::string& path, const DeviceOptions& options);

}  // namespace io_detail

// BlockDevice over descriptors. Made by open_device().
class PosixDevice final : public BlockDevice {
 public:
  PosixDevice(std::string path, DeviceOptions options, io_detail::OpenedFiles files);

  [[nodiscard]] const DeviceGeometry& geometry() const override { return geometry_; }
  [[nodiscard]] const std::string& name() const override { return path_; }
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override;
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override;
  Result<void> sync() override;
  Result<void> zero_range(ByteRange range) override;
  Result<void> punch_hole(ByteRange range) override;
  Result<ByteOffset> seek_data(ByteOffset from) override;
  Result<ByteOffset> seek_hole(ByteOffset from) override;
  void drop_cache(ByteRange range) override;
  Result<void> reopen() override;
  [[nodiscard]] int native_handle() const override { return main_.get(); }
  [[nodiscard]] std::string stamp() const override;
  [[nodiscard]] bool ready_for(bool write) const override;
  [[nodiscard]] Error failure_of(int os_errno) const override;

 private:
  // Ok while the device may be used at all, and a file is as long as it was at open.
  Result<void> check_present() const;
  Result<void> check_writable() const;
  [[nodiscard]] Result<void> explain(Result<void> result) const;
  Result<void> write_tail(std::span<const std::byte> data);
  Result<void> write_zeros(ByteRange range);
  Result<void> deallocate(ByteRange range, int mode);
  [[nodiscard]] Result<ByteOffset> seek(ByteOffset from, int whence);
  // Where direct transfers end: the size, rounded down to the logical block.
  [[nodiscard]] std::uint64_t grid_end() const { return round_down(geometry_.size.value(), geometry_.logical_block); }

  const std::string path_;
  const DeviceOptions options_;
  const DeviceGeometry geometry_;
  const DeviceIdentity identity_;
  const std::uint64_t discard_grid_;
  // The numbers never change: reopen() puts new files behind them.
  const UniqueFd main_;
  const UniqueFd tail_;
  std::atomic<bool> present_{true};         // false: a reopen() failed, nothing is behind the descriptors
  std::atomic<bool> zeroes_cheaply_{true};  // cleared when the file system turns out not to have ZERO_RANGE
  Mutex reopening_;
};

}  // namespace remapfs
