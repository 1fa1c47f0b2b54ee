// SPDX-License-Identifier: Apache-2.0
#include "e2e/cli/program.hpp"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "core/unique_fd.hpp"

namespace remapfs::e2e {
namespace {

using Clock = std::chrono::steady_clock;

std::string shown(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
  return text;
}

[[noreturn]] void become(const std::vector<std::string>& command, const RunOptions& options) {
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(126);
  for (const std::string& variable : options.environment) {
    const std::size_t equals = variable.find('=');
    ::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
  }
  if (options.user) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(*options.user) != 0 || ::setuid(*options.user) != 0) ::_exit(126);
  }
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

// Exit code, or -1 when it was killed.
int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

bool wait_until(pid_t pid, Clock::time_point deadline) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd entry{process.get(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(std::max<long long>(left, 0))) > 0;
}

}  // namespace

Ran run_program(const std::vector<std::string>& command, const RunOptions& options) {
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(err.data(), O_CLOEXEC), 0);
  std::array<UniqueFd, 2> reading{UniqueFd(out[0]), UniqueFd(err[0])};
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    become(command, options);
  }
  ::close(out[1]);
  ::close(err[1]);

  Ran ran;
  std::array<std::string*, 2> texts{&ran.out, &ran.err};
  const auto deadline = Clock::now() + options.timeout;
  bool in_time = true;
  while (reading[0] || reading[1]) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    std::array<pollfd, 2> entries{pollfd{reading[0].get(), POLLIN, 0}, pollfd{reading[1].get(), POLLIN, 0}};
    in_time = left > 0 && ::poll(entries.data(), 2, static_cast<int>(left)) > 0;
    if (!in_time) break;
    for (std::size_t i = 0; i < 2; ++i) {
      if (entries[i].revents == 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t got = ::read(reading[i].get(), chunk.data(), chunk.size());
      if (got > 0) {
        texts[i]->append(chunk.data(), static_cast<std::size_t>(got));
      } else {
        reading[i].reset();
      }
    }
  }
  in_time = in_time && wait_until(child, deadline);
  if (!in_time) {
    ADD_FAILURE() << "took too long: " << shown(command);
    ::kill(child, SIGKILL);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ran.exit_code = exit_code_of(status);
  return ran;
}

Ran remapfs(const std::vector<std::string>& args, const RunOptions& options) {
  std::vector<std::string> command{REMAPFS_PROGRAM};
  command.insert(command.end(), args.begin(), args.end());
  return run_program(command, options);
}

Running::Running(const std::vector<std::string>& command) : pid_(::fork()) {
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  become(command, {});
}

Running::~Running() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

int Running::wait(std::chrono::seconds timeout) {
  if (!wait_until(pid_, Clock::now() + timeout)) return -1;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code_of(status);
}

}  // namespace remapfs::e2e
