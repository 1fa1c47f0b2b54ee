// SPDX-License-Identifier: Apache-2.0
#include "fuse/request_rules.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <vector>

namespace remapfs::fuse {

void PrintTo(const RangeVerdict& verdict, std::ostream* out) {
  *out << "error " << verdict.error << " [" << verdict.range.begin.value() << ", " << verdict.range.end.value() << ")";
}
void PrintTo(const FallocateVerdict& verdict, std::ostream* out) {
  *out << "action " << static_cast<int>(verdict.action) << " error " << verdict.error << " ["
       << verdict.range.begin.value() << ", " << verdict.range.end.value() << ")";
}

namespace {

constexpr ByteCount kSize(10240);
constexpr off_t kHuge = std::numeric_limits<off_t>::max();

RangeVerdict act_on(std::uint64_t begin, std::uint64_t end) { return {0, {ByteOffset(begin), ByteOffset(end)}}; }
RangeVerdict answer(int error) { return {error, {}}; }

TEST(JudgeRead, IsClampedAtTheEndOfTheDisk) {
  EXPECT_EQ(judge_read(0, 512, kSize), act_on(0, 512));
  EXPECT_EQ(judge_read(0, 10240, kSize), act_on(0, 10240));
  EXPECT_EQ(judge_read(0, 10241, kSize), act_on(0, 10240));
  EXPECT_EQ(judge_read(10239, 1, kSize), act_on(10239, 10240));
  EXPECT_EQ(judge_read(10239, 4096, kSize), act_on(10239, 10240));
  EXPECT_EQ(judge_read(10240, 1, kSize), act_on(10240, 10240));
  EXPECT_EQ(judge_read(10241, 1, kSize), act_on(10240, 10240));
  EXPECT_EQ(judge_read(kHuge, std::numeric_limits<std::size_t>::max(), kSize), act_on(10240, 10240));
  EXPECT_EQ(judge_read(5, std::numeric_limits<std::size_t>::max(), kSize), act_on(5, 10240));
  EXPECT_EQ(judge_read(-1, 1, kSize), answer(EINVAL));
}

TEST(JudgeWrite, IsInsideTheDiskOrRefusedAsAWhole) {
  EXPECT_EQ(judge_write(0, 512, kSize), act_on(0, 512));
  EXPECT_EQ(judge_write(0, 10240, kSize), act_on(0, 10240));
  EXPECT_EQ(judge_write(10239, 1, kSize), act_on(10239, 10240));
  EXPECT_EQ(judge_write(10240, 0, kSize), act_on(10240, 10240));
  EXPECT_EQ(judge_write(0, 10241, kSize), answer(ENOSPC));
  EXPECT_EQ(judge_write(10239, 2, kSize), answer(ENOSPC));
  EXPECT_EQ(judge_write(10240, 1, kSize), answer(ENOSPC));
  EXPECT_EQ(judge_write(10241, 0, kSize), answer(ENOSPC));
  EXPECT_EQ(judge_write(-1, 1, kSize), answer(EINVAL));
}

TEST(JudgeWrite, SumThatOverflowsIsPastTheEnd) {
  EXPECT_EQ(judge_write(kHuge, std::numeric_limits<std::size_t>::max(), kSize), answer(ENOSPC));
  EXPECT_EQ(judge_write(512, std::numeric_limits<std::size_t>::max() - 511, kSize), answer(ENOSPC));
}

TEST(JudgeTruncate, OnlyZeroWithoutAHandleAndTheSameSizeSucceed) {
  EXPECT_EQ(judge_truncate(0, false, kSize, false), 0);
  EXPECT_EQ(judge_truncate(0, true, kSize, false), EPERM);
  for (const bool through_handle : {false, true}) {
    EXPECT_EQ(judge_truncate(10240, through_handle, kSize, false), 0);
    EXPECT_EQ(judge_truncate(10239, through_handle, kSize, false), EPERM);
    EXPECT_EQ(judge_truncate(10241, through_handle, kSize, false), EPERM);
    EXPECT_EQ(judge_truncate(1, through_handle, kSize, false), EPERM);
    EXPECT_EQ(judge_truncate(kHuge, through_handle, kSize, false), EPERM);
    EXPECT_EQ(judge_truncate(-1, through_handle, kSize, false), EINVAL);
  }
}

TEST(JudgeTruncate, ReadOnlyDiskRefusesEverySize) {
  for (const off_t size : {off_t{0}, off_t{1}, off_t{10240}}) {
    EXPECT_EQ(judge_truncate(size, false, kSize, true), EROFS) << size;
  }
}

constexpr int kKeep = FALLOC_FL_KEEP_SIZE;
constexpr int kZero = FALLOC_FL_ZERO_RANGE;
constexpr int kZeroKeep = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

FallocateVerdict judge(int mode, off_t offset, off_t length) {
  return judge_fallocate(mode, offset, length, kSize, /*can_punch=*/true, /*read_only=*/false);
}
FallocateVerdict refused(int error) { return {FallocateAction::refuse, error, {}}; }
FallocateVerdict nothing() { return {FallocateAction::nothing, 0, {}}; }
FallocateVerdict act(FallocateAction action, std::uint64_t begin, std::uint64_t end) {
  return {action, 0, {ByteOffset(begin), ByteOffset(end)}};
}

TEST(JudgeFallocate, ReservingInsideTheDiskDoesNothingAndPastItIsNoSpace) {
  for (const int mode : {0, kKeep}) {
    EXPECT_EQ(judge(mode, 0, 10240), nothing());
    EXPECT_EQ(judge(mode, 10239, 1), nothing());
    EXPECT_EQ(judge(mode, 0, 10241), refused(ENOSPC));
    EXPECT_EQ(judge(mode, 10240, 1), refused(ENOSPC));
  }
}

TEST(JudgeFallocate, ZeroingThatWouldGrowTheDiskIsNoSpace) {
  EXPECT_EQ(judge(kZero, 0, 10240), act(FallocateAction::zero, 0, 10240));
  EXPECT_EQ(judge(kZero, 1, 511), act(FallocateAction::zero, 1, 512));
  EXPECT_EQ(judge(kZero, 0, 10241), refused(ENOSPC));
  EXPECT_EQ(judge(kZero, 10240, 1), refused(ENOSPC));
}

TEST(JudgeFallocate, KeepingTheSizeClampsAsABlockDeviceDoes) {
  EXPECT_EQ(judge(kZeroKeep, 512, 20000), act(FallocateAction::zero, 512, 10240));
  EXPECT_EQ(judge(kPunch, 512, 20000), act(FallocateAction::punch, 512, 10240));
  EXPECT_EQ(judge(kPunch, 10239, kHuge - 10239), act(FallocateAction::punch, 10239, 10240));
  EXPECT_EQ(judge(kZeroKeep, 10240, 1), refused(EINVAL));
  EXPECT_EQ(judge(kPunch, 10240, 1), refused(EINVAL));
}

TEST(JudgeFallocate, PunchWhereItIsNotCheapIsUnsupportedBeforeAnythingElse) {
  EXPECT_EQ(judge_fallocate(kPunch, 0, 512, kSize, false, false), refused(EOPNOTSUPP));
  EXPECT_EQ(judge_fallocate(kPunch, 99999, 512, kSize, false, false), refused(EOPNOTSUPP));
  EXPECT_EQ(judge_fallocate(kZero, 0, 512, kSize, false, false), act(FallocateAction::zero, 0, 512));
}

TEST(JudgeFallocate, OtherModesAreUnsupportedAndNeverUnimplemented) {
  for (int mode = 0; mode < 0x200; ++mode) {
    if (mode == 0 || mode == kKeep || mode == kZero || mode == kZeroKeep || mode == kPunch) continue;
    EXPECT_EQ(judge(mode, 0, 512), refused(EOPNOTSUPP)) << mode;
  }
}

TEST(JudgeFallocate, BadArgumentsAreRefused) {
  for (const int mode : {0, kKeep, kZero, kZeroKeep, kPunch}) {
    EXPECT_EQ(judge(mode, -1, 512), refused(EINVAL));
    EXPECT_EQ(judge(mode, 0, 0), refused(EINVAL));
    EXPECT_EQ(judge(mode, 0, -1), refused(EINVAL));
    EXPECT_EQ(judge(mode, 1, kHuge), refused(EFBIG));
    EXPECT_EQ(judge_fallocate(mode, 0, 512, kSize, true, true), refused(EROFS));
  }
}

TEST(JudgeSeek, AtOrPastTheEndIsNoSuchAddress) {
  for (const int whence : {SEEK_DATA, SEEK_HOLE}) {
    EXPECT_EQ(judge_seek(0, whence, kSize), 0);
    EXPECT_EQ(judge_seek(10239, whence, kSize), 0);
    EXPECT_EQ(judge_seek(10240, whence, kSize), ENXIO);
    EXPECT_EQ(judge_seek(kHuge, whence, kSize), ENXIO);
    EXPECT_EQ(judge_seek(-1, whence, kSize), EINVAL);
  }
  for (const int whence : {SEEK_SET, SEEK_CUR, SEEK_END, 17}) EXPECT_EQ(judge_seek(0, whence, kSize), EINVAL);
}

}  // namespace
}  // namespace remapfs::fuse
