// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// The end of a pipe through which a daemon tells the command that started it how the start went. Says one thing, once.
class Readiness {
 public:
  Readiness() = default;  // nobody listens: a foreground process
  explicit Readiness(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  void ready();
  void failed(const Error& error);
  // For a child of the daemon, which has the pipe too and nothing to say: whoever listens waits for every end.
  void abandon() { pipe_.reset(); }

 private:
  void say(const std::string& text);
  UniqueFd pipe_;
};

// Runs `serve` in a child process of its own session, with / as its directory and its standard streams at /dev/null,
// and waits until it is ready. The child ends with the value that serve returns; an error of serve is what we return.
// Ctrl-C, SIGTERM or SIGHUP while it waits are passed on to the child as SIGTERM, and its end is waited for.
// Errors: what the child said has failed; interrupted; failed when it died without a word; no_memory.
// Threads: none may have been started.
Result<void> start_in_background(const std::function<Result<int>(Readiness&)>& serve);

}  // namespace remapfs::cli
