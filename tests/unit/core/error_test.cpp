// SPDX-License-Identifier: Apache-2.0
#include "remapfs/error.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace remapfs {
namespace {

TEST(Error, EveryKindHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Errc::interrupted); ++code) {
    EXPECT_TRUE(names.insert(to_string(static_cast<Errc>(code))).second) << code;
  }
  EXPECT_TRUE(names.contains("media"));
}

TEST(Error, DescriptionPrefersTheMessageOverKindAndErrno) {
  EXPECT_EQ(describe({Errc::busy, EBUSY, "in use, /dev/sdz, unmount it"}), "in use, /dev/sdz, unmount it");
  EXPECT_EQ(describe({Errc::media, EIO, {}}), "media: Input/output error");
  EXPECT_EQ(describe({Errc::lost, 0, {}}), "lost");
}

TEST(ErrorDeathTest, BrokenInvariantEndsTheProgramNamingTheCondition) {
  EXPECT_DEATH(REMAPFS_INVARIANT(1 + 1 == 3), "1 \\+ 1 == 3 does not hold");
}

}  // namespace
}  // namespace remapfs
