// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace remapfs::e2e {

// What a program did.
struct Ran {
  int exit_code = -1;  // -1: killed by a signal, or by us because it took too long
  std::string out;
  std::string err;
};

struct RunOptions {
  std::chrono::seconds timeout{60};
  std::optional<uid_t> user{};             // become somebody else
  std::vector<std::string> environment{};  // "NAME=value", on top of ours
  std::string directory{};                 // to run in; empty: where we are
};

// Runs a program to its end. A program that takes too long is killed and fails the test.
Ran run_program(const std::vector<std::string>& command, const RunOptions& options = {});

// Runs the program under test.
Ran remapfs(const std::vector<std::string>& args, const RunOptions& options = {});

// A program that runs while the test goes on; killed and reaped at the end of the scope.
class Running {
 public:
  explicit Running(const std::vector<std::string>& command);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Its exit code, once it has ended by itself; -1 when it does not in time.
  int wait(std::chrono::seconds timeout = std::chrono::seconds(30));

 private:
  pid_t pid_ = -1;
};

}  // namespace remapfs::e2e
