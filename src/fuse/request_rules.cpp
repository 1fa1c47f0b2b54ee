// SPDX-License-Identifier: Apache-2.0
#include "fuse/request_rules.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace remapfs::fuse {

namespace {

ByteRange range_of(std::uint64_t begin, std::uint64_t end) { return {ByteOffset(begin), ByteOffset(end)}; }

FallocateVerdict refuse(int error) { return {FallocateAction::refuse, error, {}}; }

}  // namespace

RangeVerdict judge_read(off_t offset, std::size_t length, ByteCount size) {
  if (offset < 0) return {EINVAL, {}};
  const auto begin = std::min(static_cast<std::uint64_t>(offset), size.value());
  return {0, range_of(begin, begin + std::min<std::uint64_t>(length, size.value() - begin))};
}

RangeVerdict judge_write(off_t offset, std::size_t length, ByteCount size) {
  if (offset < 0) return {EINVAL, {}};
  const auto begin = static_cast<std::uint64_t>(offset);
  // The room behind `begin` is compared, so that no sum can overflow.
  if (begin > size.value() || length > size.value() - begin) return {ENOSPC, {}};
  return {0, range_of(begin, begin + length)};
}

int judge_truncate(off_t new_size, bool through_handle, ByteCount size, bool read_only) {
  if (read_only) return EROFS;
  if (new_size < 0) return EINVAL;
  if (new_size == 0 && !through_handle) return 0;
  return static_cast<std::uint64_t>(new_size) == size.value() ? 0 : EPERM;
}

FallocateVerdict judge_fallocate(int mode, off_t offset, off_t length, ByteCount size, bool can_punch, bool read_only) {
  constexpr int kZeroKeep = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  constexpr int kPunchKeep = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const bool reserves = mode == 0 || mode == FALLOC_FL_KEEP_SIZE;
  const bool zeroes = mode == FALLOC_FL_ZERO_RANGE || mode == kZeroKeep;
  const bool punches = mode == kPunchKeep;

  if (!reserves && !zeroes && !punches) return refuse(EOPNOTSUPP);
  if (punches && !can_punch) return refuse(EOPNOTSUPP);
  if (read_only) return refuse(EROFS);
  if (offset < 0 || length <= 0) return refuse(EINVAL);
  if (length > std::numeric_limits<off_t>::max() - offset) return refuse(EFBIG);

  const auto begin = static_cast<std::uint64_t>(offset);
  const auto end = begin + static_cast<std::uint64_t>(length);
  if (reserves || mode == FALLOC_FL_ZERO_RANGE) {
    if (end > size.value()) return refuse(ENOSPC);
    if (reserves) return {FallocateAction::nothing, 0, {}};
  } else if (begin >= size.value()) {
    return refuse(EINVAL);
  }
  return {punches ? FallocateAction::punch : FallocateAction::zero, 0, range_of(begin, std::min(end, size.value()))};
}

int judge_seek(off_t offset, int whence, ByteCount size) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return EINVAL;
  if (offset < 0) return EINVAL;
  return static_cast<std::uint64_t>(offset) >= size.value() ? ENXIO : 0;
}

}  // namespace remapfs::fuse
