// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <sys/types.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "e2e/kill/scratch.hpp"
#include "e2e/survival/survival_rig.hpp"

namespace remapfs::testing {

// Counts the system calls of a process and of all its threads while it exists.
class SystemCalls {
 public:
  struct Calls {
    std::uint64_t count = 0;
    std::uint64_t failed = 0;
  };

  SystemCalls(const ScratchDirectory& directory, pid_t process) : path_(directory / "calls"), process_(process) {
    tracing_ = std::async(std::launch::async, [this] {
      return run({"strace", "-f", "-qq", "-c", "-U", "name,calls,errors", "-o", path_, "-p", std::to_string(process_)},
                 300);
    });
    if (!eventually([this] { return everybody_is_traced(); })) throw std::runtime_error("strace does not trace it");
  }
  ~SystemCalls() {
    if (tracing_.valid()) static_cast<void>(end());
  }
  SystemCalls(const SystemCalls&) = delete;
  SystemCalls& operator=(const SystemCalls&) = delete;

  // By name.
  std::map<std::string, Calls> end() {
    if (const pid_t tracer = tracer_of(process_); tracer > 0) ::kill(tracer, SIGINT);
    const Ran ran = tracing_.get();
    EXPECT_TRUE(ran.err.empty()) << ran.err;
    std::map<std::string, Calls> all;
    std::ifstream file(path_);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string name;
      Calls calls;
      if (!(words >> name >> calls.count)) continue;  // a heading
      words >> calls.failed;
      if (name != "total") all[name] = calls;
    }
    return all;
  }

 private:
  static pid_t tracer_of(pid_t thread) {
    std::ifstream status(fmt::format("/proc/{}/status", thread));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("TracerPid:")) return std::stoi(line.substr(line.find(':') + 1));
    }
    return 0;
  }
  [[nodiscard]] bool everybody_is_traced() const {
    const std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", process_));
    return std::ranges::all_of(threads, [](const auto& thread) {
      // Threads of the kernel that a ring has made cannot be traced, and call nothing.
      const int number = std::stoi(thread.path().filename());
      std::string name;
      std::ifstream(thread.path() / "comm") >> name;
      return name.starts_with("iou-") || tracer_of(number) != 0;
    });
  }

  std::string path_;
  pid_t process_;
  std::future<Ran> tracing_;
};

}  // namespace remapfs::testing
