// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace remapfs::testing {

// What a program printed and how it ended.
struct Ran {
  int code = -1;  // 124: it took too long and was killed
  std::string out;
  std::string err;
};

// Runs a program, without a shell, for at most `seconds`.
// Threads: any. Errors: std::runtime_error when it cannot be started.
Ran run(const std::vector<std::string>& words, unsigned seconds = 60);
// The same for a program that must succeed; its stdout. Throws std::runtime_error with what it said.
std::string must_run(const std::vector<std::string>& words, unsigned seconds = 60);

// A directory for one test, on a real file system. A process of its own waits for the end of the test, however that
// comes, and then unmounts what is left of a MountedVolume in it and removes it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  // Waits until all is gone. Reports a test failure when something could not be removed.
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  int lifeline_ = -1;
  pid_t cleaner_ = -1;
};

// A file descriptor for the scope.
class OpenFile {
 public:
  // Throws std::system_error.
  OpenFile(const std::string& path, int flags, mode_t mode = 0600);
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace remapfs::testing
