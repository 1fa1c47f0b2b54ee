// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

namespace remapfs::e2e {
namespace {

constexpr const char* kRuntime = "/run/remapfs";
constexpr unsigned kFuseMajor = 10;
constexpr unsigned kFuseMinor = 229;

// Mounts of these tests, their control sockets and default mount points are seen by nobody outside and go with the
// last process. Some systems give /dev/fuse to root only, most to everybody: here it is everybody's.
class PrivateMounts : public ::testing::Environment {
 public:
  void SetUp() override {
    ASSERT_EQ(::geteuid(), 0U) << "these tests mount file systems and use loop devices";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ::mkdir(kRuntime, 0755);
    ASSERT_EQ(::mount("runtime", kRuntime, "tmpfs", 0, "mode=0755"), 0);
    const std::string node = std::string(kRuntime) + "/fuse-for-all";
    ASSERT_EQ(::mknod(node.c_str(), S_IFCHR | 0666, makedev(kFuseMajor, kFuseMinor)), 0);
    ASSERT_EQ(::chmod(node.c_str(), 0666), 0);
    ASSERT_EQ(::mount(node.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr), 0);
    if (::access("/sys/fs/fuse/connections", F_OK) == 0) {
      ::mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, nullptr);
    }
  }
};

const auto* const kPrivateMounts = ::testing::AddGlobalTestEnvironment(new PrivateMounts);

}  // namespace
}  // namespace remapfs::e2e
