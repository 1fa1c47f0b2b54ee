// SPDX-License-Identifier: Apache-2.0
#include "support/private_mounts.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace remapfs::testing {

void PrivateMounts::SetUp() {
  constexpr unsigned kFuseMajor = 10;
  constexpr unsigned kFuseMinor = 229;
  ASSERT_EQ(::geteuid(), 0U) << "these tests mount file systems and use loop devices";
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  ::mkdir(directory_.c_str(), 0755);
  ASSERT_EQ(::mount("private", directory_.c_str(), "tmpfs", 0, "mode=0755"), 0);
  const std::string node = directory_ + "/fuse-for-all";
  ASSERT_EQ(::mknod(node.c_str(), S_IFCHR | 0666, makedev(kFuseMajor, kFuseMinor)), 0);
  ASSERT_EQ(::chmod(node.c_str(), 0666), 0);
  ASSERT_EQ(::mount(node.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr), 0);
  if (::access("/sys/fs/fuse/connections", F_OK) == 0) {
    ::mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, nullptr);
  }
}

}  // namespace remapfs::testing
