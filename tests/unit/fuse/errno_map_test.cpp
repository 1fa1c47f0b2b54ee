// SPDX-License-Identifier: Apache-2.0
#include "fuse/errno_map.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

namespace remapfs::fuse {
namespace {

constexpr auto kLast = static_cast<int>(Errc::interrupted);

const std::map<Errc, int> kNotInputOutputErrors{
    {Errc::no_space, ENOSPC},        {Errc::read_only, EROFS},  {Errc::past_end, ENOSPC},   {Errc::invalid, EINVAL},
    {Errc::unsupported, EOPNOTSUPP}, {Errc::not_found, ENOENT}, {Errc::exists, EEXIST},     {Errc::busy, EBUSY},
    {Errc::permission, EPERM},       {Errc::no_memory, ENOMEM}, {Errc::interrupted, EINTR},
};

TEST(ErrnoMap, EveryKindIsAnInputOutputErrorUnlessTheTableSaysOtherwise) {
  for (int i = 0; i <= kLast; ++i) {
    const auto code = static_cast<Errc>(i);
    const auto other = kNotInputOutputErrors.find(code);
    EXPECT_EQ(errno_for_caller(code), other == kNotInputOutputErrors.end() ? EIO : other->second) << to_string(code);
  }
}

TEST(ErrnoMap, NoKindIsSuccessOrLatchedByTheKernelOrMisreadByXfs) {
  for (int i = 0; i <= kLast; ++i) {
    const int error = errno_for_caller(static_cast<Errc>(i));
    EXPECT_GT(error, 0);
    EXPECT_NE(error, ENOSYS);
    EXPECT_NE(error, ENODATA);
  }
}

TEST(ErrnoMap, ValueOutsideTheEnumerationIsAnInputOutputError) {
  EXPECT_EQ(errno_for_caller(static_cast<Errc>(kLast + 1)), EIO);
}

}  // namespace
}  // namespace remapfs::fuse
