// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/scratch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace remapfs::testing {
namespace {

std::string contents_of(int fd) {
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t got = ::pread(fd, chunk.data(), chunk.size(), static_cast<off_t>(text.size()));
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Ran run(const std::vector<std::string>& words, unsigned seconds) {
  std::vector<std::string> all{"timeout", "-k", "5", std::to_string(seconds)};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(all.size() + 1);
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);

  // Files, not pipes: a daemon left behind can hold neither them nor us.
  const OpenFile out(::memfd_create("stdout", MFD_CLOEXEC));
  const OpenFile err(::memfd_create("stderr", MFD_CLOEXEC));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.fd(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.fd(), STDERR_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), words.front());
  const int code = wait_for(child);
  return {code, contents_of(out.fd()), contents_of(err.fd())};
}

std::string must_run(const std::vector<std::string>& words, unsigned seconds) {
  Ran ran = run(words, seconds);
  if (ran.code != 0) {
    throw std::runtime_error(fmt::format("{}: ended with {}: {}{}", fmt::join(words, " "), ran.code, ran.out, ran.err));
  }
  return std::move(ran.out);
}

ScratchDirectory::ScratchDirectory() {
  // Not /tmp, which may be a tmpfs: files on that take no O_DIRECT, and their memory is the machine's.
  char name[] = "/var/tmp/remapfs-e2e-XXXXXX";
  if (::mkdtemp(name) == nullptr) throw std::system_error(errno, std::generic_category(), name);
  path_ = name;
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  cleaner_ = ::fork();
  if (cleaner_ == 0) {
    ::setsid();
    ::dup2(pipe[0], STDIN_FILENO);
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::execlp("sh", "sh", CLEAN_UP, path_.c_str(), REMAPFS, FAULTY_DISK, nullptr);
    ::_exit(127);
  }
  ::close(pipe[0]);
  lifeline_ = pipe[1];
}

ScratchDirectory::~ScratchDirectory() {
  ::close(lifeline_);
  wait_for(cleaner_);
  EXPECT_NE(::access(path_.c_str(), F_OK), 0) << path_ << " could not be cleaned up";
}

OpenFile::OpenFile(const std::string& path, int flags, mode_t mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
}

OpenFile::~OpenFile() { ::close(fd_); }

}  // namespace remapfs::testing
