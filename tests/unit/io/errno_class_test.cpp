// SPDX-License-Identifier: Apache-2.0
#include "io/errno_class.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace remapfs {
namespace {

struct Row {
  int os_errno;
  Errc code;
};

TEST(ClassifyErrno, EveryErrnoOfInterestHasItsKind) {
  constexpr Row kTable[] = {
      {EIO, Errc::media},
      {ENODATA, Errc::media},
      {EILSEQ, Errc::media},
      {ETIMEDOUT, Errc::timeout},
      {EREMOTEIO, Errc::timeout},
      {ENOLINK, Errc::transport},
      {ENXIO, Errc::device_gone},
      {ENODEV, Errc::device_gone},
      {ENOMEDIUM, Errc::device_gone},
      {ESHUTDOWN, Errc::device_gone},
      {ENOTCONN, Errc::device_gone},
      {ENOSPC, Errc::no_space},
      {EDQUOT, Errc::no_space},
      {EROFS, Errc::read_only},
      {EOPNOTSUPP, Errc::unsupported},
      {ENOMEM, Errc::no_memory},
      {EINTR, Errc::interrupted},
      {EINVAL, Errc::device_other},
      {EAGAIN, Errc::device_other},
      {EBADF, Errc::device_other},
      {EFAULT, Errc::device_other},
      {EBUSY, Errc::device_other},
      {EPERM, Errc::device_other},
      {EACCES, Errc::device_other},
      {EFBIG, Errc::device_other},
      {ESTALE, Errc::device_other},
      {EBADMSG, Errc::device_other},  // XFS and ext4: metadata with a wrong checksum, not a sector
      {EUCLEAN, Errc::device_other},  // the same, damaged
      {EBADE, Errc::device_other},    // reservation conflict
      {ETIME, Errc::device_other},    // command duration limit
      {ECANCELED, Errc::device_other},
      {ECONNRESET, Errc::device_other},
      {0, Errc::device_other},
      {-1, Errc::device_other},
      {99999, Errc::device_other},
  };
  for (const Row& row : kTable) {
    EXPECT_EQ(to_string(classify_errno(row.os_errno)), to_string(row.code)) << "errno " << row.os_errno;
  }
}

TEST(ClassifyErrno, NothingButTheNamedErrnosCanEverMakeAnEntry) {
  const std::set<int> may{EIO, ENODATA, EILSEQ, ETIMEDOUT, EREMOTEIO};
  for (int os_errno = 0; os_errno < 4096; ++os_errno) {
    const Errc code = classify_errno(os_errno);
    EXPECT_EQ(code == Errc::media || code == Errc::timeout, may.contains(os_errno)) << "errno " << os_errno;
  }
}

TEST(ClassifyOpenErrno, PathsFailInTheirOwnWays) {
  constexpr Row kTable[] = {
      {ENOENT, Errc::not_found}, {ENOTDIR, Errc::not_found}, {EACCES, Errc::permission},     {EPERM, Errc::permission},
      {EBUSY, Errc::busy},       {EWOULDBLOCK, Errc::busy},  {ETXTBSY, Errc::busy},          {EEXIST, Errc::exists},
      {EISDIR, Errc::invalid},   {ELOOP, Errc::invalid},     {ENAMETOOLONG, Errc::invalid},  {EINVAL, Errc::invalid},
      {EROFS, Errc::read_only},  {ENXIO, Errc::device_gone}, {ENOMEDIUM, Errc::device_gone}, {EIO, Errc::media},
      {ENOMEM, Errc::no_memory},
  };
  for (const Row& row : kTable) {
    EXPECT_EQ(to_string(classify_open_errno(row.os_errno)), to_string(row.code)) << "errno " << row.os_errno;
  }
}

TEST(DeviceFailure, CarriesTheErrnoAndAllocatesNoMessage) {
  const Result<void> result = device_failure(ENODATA);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::media);
  EXPECT_EQ(result.error().os_errno, ENODATA);
  EXPECT_TRUE(result.error().message.empty());
}

}  // namespace
}  // namespace remapfs
