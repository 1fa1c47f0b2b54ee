// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "e2e/survival/survival_rig.hpp"

// What the killed process knew and no file tells.

namespace remapfs::testing {
namespace {

class SurvivalOfMemory : public ::testing::Test {
 protected:
  SurvivalOfMemory() {
    volume_.create(primary_.path(), directory_ / "spare.img", {"--spare-size", "4M"});
    volume_.mount();
  }
  ~SurvivalOfMemory() override { run({REMAPFS, "unmount", "--force", volume_.map()}, 30); }

  // Kills the serving process and waits for the next one.
  void replace_worker() {
    const pid_t before = volume_.worker();
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    // A read is answered by the next one.
    must_run({"dd", "if=" + volume_.disk(), "of=/dev/null", "bs=4k", "count=1", "status=none"});
    ASSERT_NE(volume_.worker(), before);
  }

  ScratchDirectory directory_;
  FailingDisk primary_{directory_, "primary", std::uint64_t{32} << 20U};
  MountedVolume volume_{directory_};
};

TEST_F(SurvivalOfMemory, AFailedSyncStaysFailedUntilResume) {
  const OpenFile disk(volume_.disk(), O_RDWR);
  ASSERT_EQ(::pwrite(disk.fd(), "x", 1, 0), 1);
  must_run({FAULTY_DISK, "set", primary_.path(), "op=flush,error=EIO,mode=times:1"});
  ASSERT_EQ(::fsync(disk.fd()), -1);
  primary_.clear_rules();
  replace_worker();
  EXPECT_EQ(volume_.status().at("state"), "failed");
  ASSERT_EQ(::fsync(disk.fd()), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(volume_.ask("resume", {}).code, 0);
  EXPECT_EQ(::fsync(disk.fd()), 0);
}

TEST_F(SurvivalOfMemory, AnOpenBreakerStaysOpenAndLostWritesAreToldOnce) {
  const OpenFile disk(volume_.disk(), O_RDWR);
  ASSERT_EQ(::pwrite(disk.fd(), "x", 1, 0), 1);
  must_run({FAULTY_DISK, "gone", primary_.path(), "on"});
  char byte = 0;
  ASSERT_EQ(::pread(disk.fd(), &byte, 1, 0), -1);
  ASSERT_EQ(volume_.status().at("state"), "suspended");
  must_run({FAULTY_DISK, "gone", primary_.path(), "off"});
  ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);
  EXPECT_EQ(::pread(disk.fd(), &byte, 1, 0), -1) << "nobody has said that the disk may be trusted again";
  EXPECT_EQ(volume_.status().at("state"), "suspended");
  EXPECT_EQ(volume_.ask("resume", {}).code, 0);
  EXPECT_EQ(::fsync(disk.fd()), -1) << "what was written before was acknowledged and may be lost";
  EXPECT_EQ(::fsync(disk.fd()), 0);
}

// Who waits for the device would get an error, and nobody else could open it.
TEST_F(SurvivalOfMemory, NothingIsUpgradedWhileADeviceIsGone) {
  const pid_t worker = volume_.worker();
  ASSERT_EQ(volume_.ask("mark-lost", {"5"}).code, 0);
  must_run({FAULTY_DISK, "gone", primary_.path(), "on"});
  EXPECT_NE(run({"dd", "if=" + volume_.disk(), "of=/dev/null", "bs=4k", "count=1", "status=none"}, 20).code, 0);
  for (const char* const verb : {"upgrade", "files"}) {
    const Ran refused = volume_.ask(verb, {});
    EXPECT_EQ(refused.code, 2) << verb;
    EXPECT_NE(refused.err.find("a device does not work"), std::string::npos) << refused.err;
  }
  EXPECT_EQ(volume_.worker(), worker);
  must_run({FAULTY_DISK, "gone", primary_.path(), "off"});
  EXPECT_EQ(volume_.ask("resume", {}).code, 0);
  EXPECT_EQ(volume_.ask("files", {}).code, 0);
  EXPECT_EQ(volume_.ask("upgrade", {}).code, 0);
  EXPECT_NE(volume_.worker(), worker);
}

TEST_F(SurvivalOfMemory, CountersAndAttributesGoOn) {
  must_run({"chmod", "640", volume_.disk()});
  must_run({"touch", "-d", "2001-02-03 04:05:06 UTC", volume_.disk()});
  must_run({"dd", "if=" + volume_.disk(), "of=/dev/null", "bs=4k", "count=100", "iflag=direct", "status=none"});
  replace_worker();
  EXPECT_GE(volume_.status().at("io").at("reads").get<int>(), 101);
  struct stat status {};
  ASSERT_EQ(::stat(volume_.disk().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
  EXPECT_EQ(status.st_mtim.tv_sec, 981173106);
}

TEST_F(SurvivalOfMemory, TheHistoryTellsTheRestart) {
  replace_worker();
  EXPECT_NE(volume_.ask("events", {}).out.find("ended by signal 9"), std::string::npos);
}

}  // namespace
}  // namespace remapfs::testing
