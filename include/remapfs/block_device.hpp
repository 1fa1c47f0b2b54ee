// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// What a device is like. Fixed while it is open.
struct DeviceGeometry {
  ByteCount size;                        // rounded down to whole sectors; of a block device, to whole logical blocks
  std::uint32_t logical_block = 512;     // the grid of transfers, see BlockDevice
  std::uint32_t physical_block = 512;    // what the medium itself rewrites as a whole
  std::uint32_t memory_alignment = 512;  // buffers of transfers start at multiples of this
  bool direct = true;                    // O_DIRECT is in force; false: buffered with O_DSYNC
  bool block_device = false;             // a block device rather than a file
  bool in_memory = false;                // a file of tmpfs: transfers wait for no device
  bool punches_cheaply = false;          // punch_hole() works and does not write zeros
};

// A disk, disk image or simulated disk: the whole of what the volume knows about devices.
//
// Grid: every range given to a device begins on a multiple of the logical block and ends on one, or at the end of the
//   device: the size of a file need not be a multiple of it. Anything else, and any range past the end, is a bug of
//   the caller; a simulated disk ends the program then, a real one answers device_other or device_gone.
// Errors: of every member, the device errors of Errc, classified from errno where they are born. Buffers may hold
//   anything after a failed read. After a failed write any part of the range may hold old or new bytes.
// Threads: all members from any thread at any time; overlapping transfers have no order.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  [[nodiscard]] virtual const DeviceGeometry& geometry() const = 0;
  // How to name the device to a person: its path.
  [[nodiscard]] virtual const std::string& name() const = 0;

  // Reads exactly buffer.size() bytes. Buffers start at multiples of memory_alignment. A transfer that ends early
  // inside the device is device_gone, never zeros.
  virtual Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) = 0;
  // Writes all of data, or fails. Does not make it durable. Never makes a file longer: of a file that has become
  // shorter, device_gone.
  virtual Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) = 0;
  // Makes every completed write durable.
  virtual Result<void> sync() = 0;

  // Makes the range read as zeros; space stays allocated.
  virtual Result<void> zero_range(ByteRange range) = 0;
  // The same, giving space back where possible. `unsupported` before any change unless punches_cheaply.
  virtual Result<void> punch_hole(ByteRange range) = 0;
  // First byte at or after `from` that is data / in a hole; not_found / the size when there is none. A device that
  // cannot tell is all data. `from` may be anything.
  virtual Result<ByteOffset> seek_data(ByteOffset from) = 0;
  virtual Result<ByteOffset> seek_hole(ByteOffset from) = 0;

  // Before a retry: forgets cached contents of the range, so that the medium itself is asked. Nothing when direct.
  virtual void drop_cache(ByteRange range) = 0;
  // Opens the same path again after the device vanished, checking identity and size. Only while no transfer is in
  // flight. Errors: device_gone, foreign (another device is there now).
  virtual Result<void> reopen() = 0;

  // Something that is the same as long as nobody has written to it: of a file when it was last written. Empty: cannot
  // be told.
  [[nodiscard]] virtual std::string stamp() const { return {}; }

  // --- For engines that do transfers themselves, on a descriptor. ---
  // The descriptor; -1 when there is none. The number stays the same over reopen(). Transfers that end off the grid
  // have to go through read_exact() and write_all(), and so has what is left of a short one.
  [[nodiscard]] virtual int native_handle() const = 0;
  // Where on the descriptor the device begins.
  [[nodiscard]] virtual ByteOffset native_begin() const { return ByteOffset(0); }
  // Whether such a transfer may begin now: the device is there, and a write would not make a file longer.
  [[nodiscard]] virtual bool ready_for(bool write) const = 0;
  // What it means when one failed with this errno.
  [[nodiscard]] virtual Error failure_of(int os_errno) const = 0;
};

}  // namespace remapfs
