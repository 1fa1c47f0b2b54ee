// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::fuse {

// The disk that the operations serve: what they need of Volume, and nothing else.
//
// Threads: every member from any number of threads. Each call is whole: when it returns, its effect is complete.
// Ranges lie inside the disk: the operations check them first. Meaning and errors are those of Volume's members.
class VirtualDisk {
 public:
  virtual ~VirtualDisk() = default;

  [[nodiscard]] virtual ByteCount size() const = 0;
  [[nodiscard]] virtual bool read_only() const = 0;

  virtual Result<std::size_t> read(ByteOffset offset, std::span<std::byte> buffer) = 0;
  virtual Result<void> write(ByteOffset offset, std::span<const std::byte> data) = 0;
  virtual Result<void> flush() = 0;
  [[nodiscard]] virtual std::uint64_t generation() const { return 0; }
  virtual Result<void> zero(ByteRange range) = 0;
  virtual Result<void> punch(ByteRange range) = 0;
  [[nodiscard]] virtual bool can_punch() const = 0;
  virtual Result<ByteOffset> seek_data(ByteOffset from) = 0;
  virtual Result<ByteOffset> seek_hole(ByteOffset from) = 0;

  // For engines that do the transfers themselves; see Volume. Those of a disk without descriptors never agree.
  virtual bool begin(DirectAccess& /*access*/, ByteRange /*range*/, const std::byte* /*memory*/, bool /*write*/) {
    return false;
  }
  virtual bool end(DirectAccess& /*access*/) { return false; }
  virtual Result<void> recover(DirectAccess& /*access*/, std::byte* /*memory*/) { return fail(Errc::unsupported); }
  // What it means that the transfer of a part failed with this errno.
  [[nodiscard]] virtual Error failure_of(const DirectAccess::Part& /*part*/, int os_errno) const {
    return {Errc::device_other, os_errno, {}};
  }
};

}  // namespace remapfs::fuse
