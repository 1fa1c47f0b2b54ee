// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "e2e/survival/shared_counts.hpp"
#include "e2e/survival/survival_rig.hpp"
#include "support/soak.hpp"

// The process that keeps a mount's descriptors may be the only one that can make the machine's memory or disks answer
// again: it waits for neither.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

// What the process made the disks do, without its children that have ended.
std::map<std::string, std::uint64_t> transfers_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{0}/task/{0}/io", process));
  std::map<std::string, std::uint64_t> all;
  std::string name;
  std::uint64_t count = 0;
  while (file >> name >> count) {
    if (name == "read_bytes:" || name == "write_bytes:") all[name] = count;
  }
  return all;
}

class Keeper : public ForegroundRig, public ::testing::WithParamInterface<bool> {
 protected:
  Keeper() {
    // Whoever runs the tests may leave files open; they are not the program's.
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    const std::vector<std::string> environment = SharedCounts::environment(directory_ / "counts");
    if (in_foreground()) {
      mount(environment);
    } else {
      std::vector<std::string> words{"env"};
      words.insert(words.end(), environment.begin(), environment.end());
      words.insert(words.end(), {REMAPFS, "mount", volume_.map(), directory_ / "volume"});
      must_run(words);
    }
  }
  static bool in_foreground() { return GetParam(); }

  // Ends the process that serves by this signal, and waits for the next one.
  void end_worker(int signal) {
    const auto before = volume_.status();
    const auto restarts = before.at("crash_survival").at("restarts").get<unsigned>();
    ASSERT_EQ(::kill(before.at("worker_pid").get<pid_t>(), signal), 0);
    ASSERT_TRUE(eventually([&] {
      const Ran ran = run({REMAPFS, "status", volume_.map(), "-J"});
      if (ran.code != 0) return false;
      const auto now = nlohmann::json::parse(ran.out).at("crash_survival");
      return now.is_object() && now.at("restarts") == restarts + 1;
    }));
  }

  SharedCounts counts_{directory_ / "counts"};
};

TEST_P(Keeper, NeitherAllocatesNorTransfersAfterItsStart) {
  const pid_t keeper = volume_.keeper();
  std::this_thread::sleep_for(300ms);  // it is told that the volume is served when everybody is
  const std::uint64_t before = counts_.of(keeper).memory;
  const auto transfers = transfers_of(keeper);
  ASSERT_GT(before, 0U) << "nothing is counted";
  ASSERT_EQ(transfers.size(), 2U);

  for (const int signal : {SIGKILL, SIGSEGV, SIGKILL}) end_worker(signal);
  // One that does not even try, and one that is tried and ends.
  EXPECT_EQ(volume_.ask("upgrade", {"--program", "/bin/false"}).code, 2);
  EXPECT_EQ(volume_.ask("upgrade", {"--program", "/bin/true"}).code, 2);
  end_worker(SIGKILL);

  ASSERT_EQ(volume_.keeper(), keeper);
  EXPECT_EQ(counts_.of(keeper).memory, before);
  EXPECT_EQ(transfers_of(keeper), transfers);
  EXPECT_GT(counts_.of(volume_.worker()).memory, 0U) << "the worker is counted as well";
}

TEST_P(Keeper, HasNoFileOpenThatItCouldWaitFor) {
  const pid_t keeper = volume_.keeper();
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", keeper))) {
    const std::string target = std::filesystem::read_symlink(entry.path());
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0) << target;
    const bool memory = target.starts_with("/memfd:");
    EXPECT_TRUE(memory || (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode) && !S_ISDIR(status.st_mode)))
        << entry.path() << " is " << target;
  }
}

// A request that ends whoever serves it: an error is better than waiting for ever.
class CrashingWorkers : public ForegroundRig {};

TEST_F(CrashingWorkers, AreGivenUp) {
  if (!soaking()) GTEST_SKIP() << "takes twenty seconds: part of the soak";
  mount({});
  const pid_t keeper = volume_.keeper();
  unsigned crashes = 0;
  const auto lives = [&] { return ::kill(keeper, 0) == 0; };
  pid_t crashed = -1;
  const auto deadline = std::chrono::steady_clock::now() + 90s;
  while (lives() && std::chrono::steady_clock::now() < deadline) {
    const pid_t serving = worker_of(keeper);
    // Once it can be asked: before, it has not had the time to crash by itself.
    if (serving <= 0 || serving == crashed || ::kill(serving, SIGSEGV) != 0) {
      std::this_thread::sleep_for(5ms);
      continue;
    }
    crashed = serving;
    ++crashes;
  }
  EXPECT_FALSE(lives());
  EXPECT_GE(crashes, 10U);
  EXPECT_LE(crashes, 12U);
  EXPECT_NE(run({"mountpoint", "-q", directory_ / "volume"}).code, 0);
  EXPECT_EQ(volume_.check().code, 0);
  const Ran ended = end_of_daemon();
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.err.find("it ends again and again: run remapfs check, mount again"), std::string::npos) << ended.err;
}

INSTANTIATE_TEST_SUITE_P(Places, Keeper, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Foreground" : "Background"; });

}  // namespace
}  // namespace remapfs::testing
