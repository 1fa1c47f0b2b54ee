// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "e2e/survival/survival_rig.hpp"
#include "support/soak.hpp"

namespace remapfs::testing {
namespace {

// A service manager as far as sd_notify(3) and sd_listen_fds(3) go: keeps descriptors by name, and gives them to the
// next process.
class FakeManager {
 public:
  explicit FakeManager(const std::string& path)
      : path_(path), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~FakeManager() {
    for (const auto& [name, descriptor] : kept_) ::close(descriptor);
  }

  // Takes what has come.
  void listen() {
    for (;;) {
      std::array<char, 4096> text{};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control{};
      iovec part{text.data(), text.size() - 1};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      if (::recvmsg(socket_.fd(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return;
      const std::string said = text.data();
      said_ += said + "\n";
      const std::size_t at = said.find("FDNAME=");
      const std::string name = at == std::string::npos ? "" : said.substr(at + 7, said.find('\n', at) - at - 7);
      if (said.starts_with("FDSTOREREMOVE=1")) {
        std::erase_if(kept_, [&](const auto& one) { return one.first == name && ::close(one.second) == 0; });
      }
      for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
          int descriptor = -1;
          std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
          kept_.emplace_back(name, descriptor);
        }
      }
    }
  }

  // Starts the service again, with what was kept.
  pid_t start(const std::vector<std::string>& words) {
    std::string names;
    for (const auto& [name, descriptor] : kept_) names += (names.empty() ? "" : ":") + name;
    std::vector<std::string> copies = words;
    std::vector<char*> argv;
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string count = std::to_string(kept_.size());
    const pid_t child = ::fork();
    if (child != 0) return child;
    // Away from the places where they are to be.
    std::vector<int> aside;
    for (const auto& [name, descriptor] : kept_) aside.push_back(::fcntl(descriptor, F_DUPFD, 500));
    for (std::size_t i = 0; i < aside.size(); ++i) ::dup2(aside[i], 3 + static_cast<int>(i));
    for (const int descriptor : aside) ::close(descriptor);
    ::setenv("LISTEN_FDS", count.c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
    ::setenv("WATCHDOG_USEC", "400000", 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  [[nodiscard]] const std::string& said() const { return said_; }
  // How often.
  [[nodiscard]] std::size_t said(std::string_view line) const {
    std::size_t count = 0;
    for (std::size_t at = said_.find(line); at != std::string::npos; at = said_.find(line, at + 1)) ++count;
    return count;
  }
  [[nodiscard]] std::size_t kept() const { return kept_.size(); }

 private:
  const std::string path_;
  const OpenFile socket_;
  std::string said_;
  std::vector<std::pair<std::string, int>> kept_;
};

// A process that has the disk open. Not this one: whoever starts the service must not, since the kernel tells the
// service of every descriptor that is closed, and waits for its answer, also on exec.
class User {
 public:
  User(const std::string& path, const std::string& bytes) {
    if (::pipe2(to_.data(), O_CLOEXEC) != 0 || ::pipe2(from_.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    child_ = ::fork();
    if (child_ != 0) return;
    const int disk = ::open(path.c_str(), O_RDWR);
    std::string found(bytes.size(), '\0');
    char go = ::pwrite(disk, bytes.data(), bytes.size(), 8192) == static_cast<ssize_t>(bytes.size()) ? 'y' : 'n';
    if (::write(from_[1], &go, 1) != 1 || ::read(to_[0], &go, 1) != 1) ::_exit(1);
    const bool same = ::pread(disk, found.data(), found.size(), 8192) == static_cast<ssize_t>(found.size()) &&
                      found == bytes && ::fsync(disk) == 0;
    ::_exit(same ? 0 : 1);
  }
  ~User() {
    for (const int end : {to_[0], to_[1], from_[0], from_[1]}) ::close(end);
  }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  [[nodiscard]] bool has_written() {
    char answer = 'n';
    return ::read(from_[0], &answer, 1) == 1 && answer == 'y';
  }
  [[nodiscard]] bool reads_it_back_and_flushes() {
    int status = -1;
    return ::write(to_[1], "g", 1) == 1 && ::waitpid(child_, &status, 0) == child_ && status == 0;
  }

 private:
  std::array<int, 2> to_{};
  std::array<int, 2> from_{};
  pid_t child_ = -1;
};

class SurvivalWithAServiceManager : public SurvivalRig {
 protected:
  SurvivalWithAServiceManager() { volume_.unmount(); }

  // Starts the service and waits until it is ready.
  [[nodiscard]] pid_t start() {
    const std::size_t before = manager_.said("READY=1");
    const pid_t process = manager_.start({REMAPFS, "mount", "-f", volume_.map(), directory_ / "volume"});
    const bool ready = eventually([&] {
      manager_.listen();
      return manager_.said("READY=1") > before;
    });
    if (!ready) throw std::runtime_error("not ready: " + manager_.said());
    return process;
  }
  static void kill_all(std::initializer_list<pid_t> processes) {
    for (const int signal : {SIGSTOP, SIGKILL}) {
      for (const pid_t process : processes) ASSERT_EQ(::kill(process, signal), 0);
    }
  }

  FakeManager manager_{directory_ / "notify"};
};

TEST_F(SurvivalWithAServiceManager, AllProcessesMayBeKilledAndTheServiceStartedAgain) {
  const pid_t first = start();
  ASSERT_GE(manager_.kept(), 3U) << "the handover, the channel and the workers' descriptors";

  User user(volume_.disk(), pattern(4096));
  ASSERT_TRUE(user.has_written());
  kill_all({volume_.worker(), first});
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);

  const pid_t second = start();
  EXPECT_TRUE(user.reads_it_back_and_flushes());
  EXPECT_EQ(volume_.keeper(), second);
  EXPECT_EQ(restarts(), 1U);
}

TEST_F(SurvivalWithAServiceManager, AWorkerThatLivesServesOnUnderTheNextKeeper) {
  const pid_t first = start();
  User user(volume_.disk(), pattern(4096));
  ASSERT_TRUE(user.has_written());
  const pid_t worker = volume_.worker();
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);
  EXPECT_EQ(must_run({"dd", "if=" + volume_.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);

  const pid_t second = start();
  ASSERT_TRUE(eventually([&] { return volume_.keeper() == second; }));
  EXPECT_EQ(volume_.worker(), worker);
  EXPECT_EQ(restarts(), 0U);
  // The next keeper follows it, as it would its own child.
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  EXPECT_TRUE(user.reads_it_back_and_flushes());
  EXPECT_EQ(restarts(), 1U);
  ASSERT_EQ(::kill(second, SIGTERM), 0);
  int status = -1;
  ASSERT_EQ(::waitpid(second, &status, 0), second);
  EXPECT_EQ(status, 0);
}

// The process that has the dead worker's number now is neither waited for nor sent signals.
TEST_F(SurvivalWithAServiceManager, ANumberThatIsSomebodyElsesNowIsNotTheWorker) {
  const pid_t first = start();
  User user(volume_.disk(), pattern(4096));
  ASSERT_TRUE(user.has_written());
  const pid_t worker = volume_.worker();
  kill_all({worker, first});
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);
  ASSERT_TRUE(eventually([&] { return ::kill(worker, 0) != 0; })) << "init does not reap it";
  pid_t stranger = -1;
  for (int i = 0; i < 50 && stranger != worker; ++i) {
    if (stranger > 0) ::kill(stranger, SIGKILL);
    std::ofstream("/proc/sys/kernel/ns_last_pid") << worker - 1;
    stranger = ::fork();
    if (stranger == 0) {
      ::pause();
      ::_exit(0);
    }
  }
  if (stranger != worker) {
    ::kill(stranger, SIGKILL);
    GTEST_SKIP() << "numbers of processes cannot be chosen here";
  }

  std::ignore = start();
  EXPECT_TRUE(user.reads_it_back_and_flushes());
  EXPECT_EQ(restarts(), 1U);
  EXPECT_EQ(::waitpid(stranger, nullptr, WNOHANG), 0) << "it was sent a signal";
  ::kill(stranger, SIGKILL);
  ::waitpid(stranger, nullptr, 0);
}

// Between the processes that keep the descriptors, one that ends leaves nobody to go on.
TEST_F(SurvivalWithAServiceManager, AnUpgradeWaitsForTheNextKeeper) {
  const pid_t first = start();
  User user(volume_.disk(), pattern(4096));
  ASSERT_TRUE(user.has_written());
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);
  const Ran refused = volume_.ask("upgrade", {});
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("no process keeps its descriptors"), std::string::npos) << refused.err;

  const pid_t second = start();
  ASSERT_TRUE(eventually([&] { return volume_.keeper() == second; }));
  const Ran done = volume_.ask("upgrade", {});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_TRUE(user.reads_it_back_and_flushes());
}

TEST_F(SurvivalWithAServiceManager, WhatWasUnmountedMeanwhileIsMountedAnew) {
  const pid_t first = start();
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);
  volume_.unmount();
  manager_.listen();
  ASSERT_GT(manager_.kept(), 0U) << "nobody was there to say that it is over";

  const pid_t second = start();
  EXPECT_EQ(must_run({"dd", "if=" + volume_.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);
  EXPECT_EQ(volume_.keeper(), second);
  EXPECT_EQ(restarts(), 0U);
  ASSERT_EQ(::kill(second, SIGTERM), 0);
  int status = -1;
  ASSERT_EQ(::waitpid(second, &status, 0), second);
  EXPECT_EQ(status, 0);
  manager_.listen();
  EXPECT_EQ(manager_.kept(), 0U);
}

// What a killed process has in flight on a dying disk may hold up the next one for longer than the manager waits.
TEST_F(SurvivalWithAServiceManager, SignsOfLifeGoOnWhileTheNextProcessWaitsForItsDisk) {
  const pid_t keeper = start();
  const OpenFile primary(directory_ / "primary.img", O_RDWR);
  kill_and_hold(keeper, volume_.worker(), primary);
  manager_.listen();
  const std::size_t before = manager_.said("WATCHDOG=1");
  std::this_thread::sleep_for(std::chrono::seconds(2));
  manager_.listen();
  EXPECT_GE(manager_.said("WATCHDOG=1"), before + 5);
  ASSERT_EQ(::flock(primary.fd(), LOCK_UN), 0);
  EXPECT_EQ(must_run({"dd", "if=" + volume_.disk(), "bs=4k", "count=1", "status=none"}).size(), 4096U);
  EXPECT_EQ(restarts(), 1U);
}

// The process that waits has the map, and nobody keeps it any more: the one that follows waits for it in turn. In the
// soak for longer than it takes ten processes to fail.
TEST_F(SurvivalWithAServiceManager, TheOneThatKeepsMayBeKilledWhileTheNextProcessWaitsForItsDisk) {
  const pid_t first = start();
  User user(volume_.disk(), pattern(4096));
  ASSERT_TRUE(user.has_written());
  const pid_t worker = volume_.worker();
  const OpenFile primary(directory_ / "primary.img", O_RDWR);
  kill_and_hold(first, worker, primary);
  ASSERT_TRUE(eventually([&] {
    const pid_t next = worker_of(first);
    return next > 0 && next != worker;
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_EQ(::waitpid(first, nullptr, 0), first);
  manager_.listen();
  const std::size_t before = manager_.said("READY=1");
  const pid_t second = manager_.start({REMAPFS, "mount", "-f", volume_.map(), directory_ / "volume"});
  std::this_thread::sleep_for(std::chrono::seconds(soaking() ? 30 : 1));
  ASSERT_EQ(::flock(primary.fd(), LOCK_UN), 0);
  EXPECT_TRUE(user.reads_it_back_and_flushes());
  EXPECT_TRUE(eventually([&] {
    manager_.listen();
    return manager_.said("READY=1") > before;
  }));
  EXPECT_EQ(volume_.keeper(), second);
}

// Another service's, say.
TEST_F(SurvivalWithAServiceManager, AMountInTheBackgroundIsNoPartOfTheServiceThatStartsIt) {
  const pid_t starting = manager_.start({REMAPFS, "mount", volume_.map(), directory_ / "volume"});
  int status = -1;
  ASSERT_EQ(::waitpid(starting, &status, 0), starting);
  ASSERT_EQ(status, 0);
  const pid_t keeper = volume_.keeper();
  ASSERT_EQ(::kill(keeper, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return volume_.keeper() != keeper; })) << "nobody else would start another one";
  ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return restarts() == 1; }));
  volume_.unmount();
  manager_.listen();
  EXPECT_EQ(manager_.said(), "");
}

TEST_F(SurvivalWithAServiceManager, NothingIsKeptOfAMountThatEnded) {
  const pid_t service = start();
  ASSERT_EQ(::kill(service, SIGTERM), 0);
  int status = -1;
  ASSERT_EQ(::waitpid(service, &status, 0), service);
  EXPECT_EQ(status, 0);
  manager_.listen();
  EXPECT_EQ(manager_.kept(), 0U);
}

}  // namespace
}  // namespace remapfs::testing
