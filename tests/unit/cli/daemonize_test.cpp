// SPDX-License-Identifier: Apache-2.0
#include "cli/daemonize.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>

#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

using ::testing::HasSubstr;

TEST(Daemonize, ParentReturnsWhenTheChildIsReadyAndTheChildLivesOn) {
  const remapfs::testing::TempDir dir;
  const std::string fifo = dir / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto started = start_in_background([&](Readiness& readiness) -> Result<int> {
    readiness.ready();
    std::ofstream(fifo) << ::getsid(0) << ' ' << ::getpid();  // waits for the reader below
    return 0;
  });
  ASSERT_TRUE(started) << describe(started.error());
  pid_t session = 0;
  pid_t process = 0;
  std::ifstream(fifo) >> session >> process;
  EXPECT_EQ(session, process);
  EXPECT_NE(process, ::getpid());
}

TEST(Daemonize, ErrorOfTheChildIsTheParentsError) {
  const auto started = start_in_background(
      [](Readiness&) -> Result<int> { return fail(Errc::stale, "old map, \"x\"\n, restore it", EIO); });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::stale);
  EXPECT_EQ(started.error().message, "old map, \"x\"\n, restore it");
}

TEST(Daemonize, ChildThatDiesSilentlyIsAnError) {
  const auto started = start_in_background([](Readiness&) -> Result<int> { ::_exit(3); });
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("died"));
}

// Ctrl-C while a mount takes its time: whoever sees the command end sees the daemon gone.
TEST(Daemonize, InterruptedStartEndsTheChildFirst) {
  const remapfs::testing::TempDir dir;
  const std::string fifo = dir / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t command = ::fork();
    if (command == 0) {
      ::signal(signal, SIG_DFL);  // whoever runs the tests may have it ignored, as nohup does
      const auto started = start_in_background([&](Readiness&) -> Result<int> {
        sigset_t term;
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        ::sigprocmask(SIG_BLOCK, &term, nullptr);
        std::ofstream(fifo) << ::getpid();
        int got = 0;
        ::sigwait(&term, &got);
        ::usleep(100'000);  // undoing takes a while
        return fail(Errc::interrupted, "as told");
      });
      ::_exit(!started && started.error().code == Errc::interrupted ? 0 : 1);
    }
    pid_t child = 0;
    std::ifstream(fifo) >> child;
    ASSERT_EQ(::kill(command, signal), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(command, &status, 0), command);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "signal " << signal << ", status " << status;
    EXPECT_TRUE(::kill(child, 0) != 0 && errno == ESRCH) << "signal " << signal << ": the child lives";
  }
}

TEST(Daemonize, ChildHoldsNoneOfTheParentsStreams) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDOUT_FILENO);
  ::dup2(ends[1], STDOUT_FILENO);
  ::close(ends[1]);
  int hold[2];
  ASSERT_EQ(::pipe2(hold, O_CLOEXEC), 0);
  const auto started = start_in_background([&](Readiness& readiness) -> Result<int> {
    ::close(hold[1]);
    readiness.ready();
    char byte = 0;
    return static_cast<int>(::read(hold[0], &byte, 1));  // until the test is over
  });
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  ASSERT_TRUE(started);
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "a shell would wait for the daemon in $(remapfs attach ...)";
  ::close(ends[0]);
  ::close(hold[0]);
  ::close(hold[1]);
}

}  // namespace
}  // namespace remapfs::cli
