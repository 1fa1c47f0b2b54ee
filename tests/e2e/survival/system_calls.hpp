// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <future>
#include <map>
#include <string>

#include "e2e/kill/scratch.hpp"

namespace remapfs::testing {

// Counts the system calls of a process and of all its threads, by strace, which slows them down.
//
// Errors: std::runtime_error, with what strace says. Threads: one.
class SystemCalls {
 public:
  struct Calls {
    std::uint64_t count = 0;
    std::uint64_t failed = 0;
  };

  // Returns when every thread is traced. inject: calls that fail, as strace(1) has them after "inject="; none when
  // empty.
  SystemCalls(const ScratchDirectory& directory, pid_t process, const std::string& inject = {});
  // Lets the process go.
  ~SystemCalls();
  SystemCalls(const SystemCalls&) = delete;
  SystemCalls& operator=(const SystemCalls&) = delete;

  // Lets the process go; its calls by name.
  std::map<std::string, Calls> end();

 private:
  // What strace said.
  std::string let_go();

  std::string path_;
  pid_t process_;
  std::future<Ran> tracing_;
};

}  // namespace remapfs::testing
