// SPDX-License-Identifier: Apache-2.0
#include "io/busy_users.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "core/unique_fd.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {
namespace {

// A child process that has done something and waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& action) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      action();
      if (::write(ends[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    const bool ready = ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
    ::close(ends[1]);
    if (!ready) throw std::runtime_error("child");
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

class BusyUsers : public ::testing::Test {
 protected:
  BusyUsers() {
    std::ofstream(file_) << std::string(8192, 'x');
    std::ofstream(other_) << "y";
  }
  [[nodiscard]] static bool names(const std::vector<BusyUser>& users, pid_t pid) {
    return std::any_of(users.begin(), users.end(), [pid](const BusyUser& user) { return user.pid == pid; });
  }
  TempDir directory_;
  const std::string file_ = directory_ / "file";
  const std::string other_ = directory_ / "other";
};

TEST_F(BusyUsers, NobodyUsesAFileThatIsNotOpenOrAbsent) {
  EXPECT_TRUE(busy_users(file_).empty());
  EXPECT_TRUE(busy_users(directory_ / "absent").empty());
  EXPECT_TRUE(holders_of(file_).empty());
}

TEST_F(BusyUsers, AProcessWithADescriptorIsNamedAlsoThroughAHardLink) {
  const Child child([this] { (void)::open(file_.c_str(), O_RDONLY); });
  std::filesystem::create_hard_link(file_, directory_ / "link");
  for (const std::string& path : {file_, directory_ / "link"}) {
    const auto users = busy_users(path);
    ASSERT_EQ(users.size(), 1U) << path;
    EXPECT_EQ(users[0].pid, child.pid());
    std::ifstream comm("/proc/self/comm");
    std::string name;
    std::getline(comm, name);
    EXPECT_EQ(describe(users), name + " (pid " + std::to_string(child.pid()) + ")");
  }
  EXPECT_TRUE(busy_users(other_).empty());
}

TEST_F(BusyUsers, AMappingCountsAfterItsDescriptorIsClosed) {
  const Child child([this] {
    const UniqueFd fd(::open(file_.c_str(), O_RDONLY));
    if (::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0) == MAP_FAILED) ::_exit(1);
  });
  EXPECT_TRUE(names(busy_users(file_), child.pid()));
}

TEST_F(BusyUsers, OfADirectoryAllUsersOfItsFileSystemAreNamed) {
  const Child child([this] {
    if (::chdir(directory_.path().c_str()) != 0) ::_exit(1);
  });
  EXPECT_TRUE(names(busy_users(directory_.path().string()), child.pid()));
  EXPECT_FALSE(names(busy_users("/proc"), child.pid()));
}

TEST_F(BusyUsers, ThisProcessIsNotItsOwnUser) {
  const UniqueFd fd(::open(file_.c_str(), O_RDONLY));
  EXPECT_TRUE(busy_users(file_).empty());
}

TEST_F(BusyUsers, HoldersAreThoseWithALockNotThoseWithADescriptor) {
  const Child reader([this] { (void)::open(file_.c_str(), O_RDONLY); });
  EXPECT_TRUE(holders_of(file_).empty());
  const Child owner([this] {
    const int fd = ::open(file_.c_str(), O_RDONLY);
    if (::flock(fd, LOCK_EX) != 0) ::_exit(1);
  });
  const auto holders = holders_of(file_);
  EXPECT_TRUE(names(holders, owner.pid()));
  EXPECT_FALSE(names(holders, reader.pid()));
}

}  // namespace
}  // namespace remapfs::testing
