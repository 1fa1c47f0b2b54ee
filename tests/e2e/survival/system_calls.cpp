// SPDX-License-Identifier: Apache-2.0
#include "e2e/survival/system_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "e2e/survival/survival_rig.hpp"
#include "support/process_status.hpp"

namespace remapfs::testing {

namespace {

// 0: nobody.
pid_t tracer_of(pid_t thread) {
  const std::string value = process_status(thread, "TracerPid");
  return value.empty() ? 0 : std::stoi(value);
}

bool all_traced(pid_t process) {
  const std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", process));
  return std::ranges::all_of(threads, [](const auto& thread) {
    // Threads of the kernel that a ring has made cannot be traced, and call nothing.
    std::string name;
    std::ifstream(thread.path() / "comm") >> name;
    return name.starts_with("iou-") || tracer_of(std::stoi(thread.path().filename())) != 0;
  });
}

}  // namespace

SystemCalls::SystemCalls(const ScratchDirectory& directory, pid_t process, const std::string& inject)
    : path_(directory / "calls"), process_(process) {
  std::vector<std::string> words{"strace", "-f", "-qq", "-c", "-U", "name,calls,errors", "-o", path_};
  if (!inject.empty()) words.insert(words.end(), {"-e", "inject=" + inject});
  words.insert(words.end(), {"-p", std::to_string(process_)});
  tracing_ = std::async(std::launch::async, [words = std::move(words)] { return run(words, 300); });
  const auto has_ended = [this] { return tracing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; };
  const bool traced = eventually([&] { return has_ended() || all_traced(process_); });
  if (!traced || has_ended()) throw std::runtime_error(let_go());
}

SystemCalls::~SystemCalls() {
  if (tracing_.valid()) let_go();
}

std::string SystemCalls::let_go() {
  if (const pid_t tracer = tracer_of(process_); tracer > 0) ::kill(tracer, SIGINT);
  const Ran ran = tracing_.get();
  return fmt::format("strace ended with {}: {}", ran.code, ran.err);
}

std::map<std::string, SystemCalls::Calls> SystemCalls::end() {
  const std::string said = let_go();
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
  if (all.empty()) throw std::runtime_error(said);
  return all;
}

}  // namespace remapfs::testing
