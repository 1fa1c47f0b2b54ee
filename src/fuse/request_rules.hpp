// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "remapfs/units.hpp"

// What requests mean on a disk of fixed size, as functions of their arguments only. The rules are those of a block
// device wherever a file could behave differently.

namespace remapfs::fuse {

// What to do with a request for a range: act on `range`, or answer `error`.
struct RangeVerdict {
  int error = 0;
  ByteRange range;

  friend constexpr bool operator==(const RangeVerdict&, const RangeVerdict&) = default;
};

// READ: clamped at the end of the disk; empty at or past the end. EINVAL: negative offset.
[[nodiscard]] RangeVerdict judge_read(off_t offset, std::size_t length, ByteCount size);

// WRITE: inside the disk, or nothing is stored. ENOSPC: any byte lies past the end; EINVAL: negative offset.
[[nodiscard]] RangeVerdict judge_write(off_t offset, std::size_t length, ByteCount size);

// SETATTR with a size. Success changes nothing: 0 without a handle (`> disk` of a shell, open with O_TRUNC,
// truncate(2)), which a block device ignores too, and the size the disk has already. EPERM: any other, and 0 through
// a handle (ftruncate, `truncate -s 0`). EROFS: read-only.
[[nodiscard]] int judge_truncate(off_t new_size, bool through_handle, ByteCount size, bool read_only);

enum class FallocateAction : std::uint8_t { refuse, nothing, zero, punch };

struct FallocateVerdict {
  FallocateAction action = FallocateAction::refuse;
  int error = 0;    // when refused
  ByteRange range;  // when zero or punch

  friend constexpr bool operator==(const FallocateVerdict&, const FallocateVerdict&) = default;
};

// FALLOCATE.
//   0, KEEP_SIZE              nothing: the space is there. ENOSPC past the end: it will not be.
//   ZERO_RANGE                zero. ENOSPC when it would make the disk longer.
//   ZERO_RANGE|KEEP_SIZE      zero, and
//   PUNCH_HOLE|KEEP_SIZE      punch, of the part inside the disk; EINVAL when it starts at or past the end.
//   EOPNOTSUPP                anything else, and punch where `can_punch` is false.
//   EROFS                     read-only. EINVAL: negative offset, length not positive. EFBIG: their sum overflows.
[[nodiscard]] FallocateVerdict judge_fallocate(int mode, off_t offset, off_t length, ByteCount size, bool can_punch,
                                               bool read_only);

// LSEEK with SEEK_DATA or SEEK_HOLE, before the disk is asked. ENXIO: at or past the end; EINVAL: another whence or a
// negative offset (the kernel answers SEEK_SET, SEEK_CUR and SEEK_END itself).
[[nodiscard]] int judge_seek(off_t offset, int whence, ByteCount size);

}  // namespace remapfs::fuse
