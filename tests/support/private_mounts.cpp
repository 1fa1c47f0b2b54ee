// SPDX-License-Identifier: Apache-2.0
#include "support/private_mounts.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace remapfs::testing {
namespace {

// A failed assertion here would have GoogleTest skip every test, and CTest call them skipped rather than failed.
void require(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "these tests mount file systems and use loop devices: %s: %s\n", what, std::strerror(errno));
  std::exit(EXIT_FAILURE);
}

}  // namespace

void PrivateMounts::SetUp() {
  constexpr unsigned kFuseMajor = 10;
  constexpr unsigned kFuseMinor = 229;
  require(::unshare(CLONE_NEWNS) == 0, "a mount namespace of their own");
  require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
  ::mkdir(directory_.c_str(), 0755);
  require(::mount("private", directory_.c_str(), "tmpfs", 0, "mode=0755") == 0, directory_.c_str());
  const std::string node = directory_ + "/fuse-for-all";
  require(::mknod(node.c_str(), S_IFCHR | 0666, makedev(kFuseMajor, kFuseMinor)) == 0, node.c_str());
  require(::chmod(node.c_str(), 0666) == 0, node.c_str());
  require(::mount(node.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) == 0, "/dev/fuse");
  if (::access("/sys/fs/fuse/connections", F_OK) == 0) {
    ::mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, nullptr);
  }
}

}  // namespace remapfs::testing
