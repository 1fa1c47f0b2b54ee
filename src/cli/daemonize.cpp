// SPDX-License-Identifier: Apache-2.0
#include "cli/daemonize.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <thread>

#include "cli/held_signals.hpp"
#include "cli/world.hpp"
#include "control/protocol.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kReady = "ready";
constexpr auto kPatience = 2000ms;

void leave_terminal() {
  ::setsid();
  if (::chdir("/") != 0) std::perror("remapfs: chdir");
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return;
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), stream);
}

void release_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

struct Answer {
  std::string text;
  bool interrupted = false;  // and the child was told
};

// What the child says until it closes its end.
Answer listen(int pipe, pid_t child, HeldSignals& signals) {
  Answer answer;
  std::array<char, 1024> chunk;
  for (;;) {
    pollfd sources[2] = {{pipe, POLLIN, 0}, {signals.descriptor(), POLLIN, 0}};
    if (::poll(sources, 2, -1) < 0) continue;
    if (signals.take()) {
      answer.interrupted = true;
      ::kill(child, SIGTERM);
    }
    if (sources[0].revents == 0) continue;
    const ssize_t got = ::read(pipe, chunk.data(), chunk.size());
    if (got > 0) answer.text.append(chunk.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) return answer;
  }
}

}  // namespace

void Readiness::ready() { say(std::string(kReady)); }

// The wire form of a result is the control protocol's.
void Readiness::failed(const Error& error) { say(to_line(encode(Completion{fail(error), 0}))); }

void Readiness::say(const std::string& text) {
  if (!pipe_) return;
  // Shorter than PIPE_BUF or not, nobody else writes here; a parent that has gone is no reason to stop serving, and
  // SIGPIPE is ignored by then.
  [[maybe_unused]] const ssize_t written = ::write(pipe_.get(), text.data(), text.size());
  pipe_.reset();
}

Result<void> start_in_background(const std::function<Result<int>(Readiness&)>& serve) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(Errc::no_memory, "cannot start the daemon, no file descriptors, close some", errno);
  }
  UniqueFd listening(ends[0]);
  UniqueFd telling(ends[1]);
  HeldSignals signals;
  std::cout.flush();
  std::cerr.flush();
  const pid_t child = ::fork();
  if (child < 0) {
    return fail(Errc::no_memory,
                std::string("cannot start the daemon, fork (") + std::strerror(errno) + "), free memory", errno);
  }
  if (child == 0) {
    listening.reset();
    leave_terminal();
    release_signals();
    Readiness readiness(std::move(telling));
    // Not exit(): what the parent left to be done at exit is the parent's.
    const auto exit_code = serve(readiness);
    if (!exit_code) readiness.failed(exit_code.error());
    ::_exit(exit_code.value_or(kExitMount));
  }
  telling.reset();
  const Answer answer = listen(listening.get(), child, signals);
  if (answer.text == kReady && !answer.interrupted) return {};
  // Ready when it was told to end, it may find itself in use already, and goes on.
  for (auto waited = 0ms; ::waitpid(child, nullptr, WNOHANG) == 0; waited += kPatience / 100) {
    if (answer.text == kReady && waited >= kPatience) {
      return fail(Errc::interrupted, "interrupted, but in use already and still mounted, unmount it");
    }
    std::this_thread::sleep_for(kPatience / 100);
  }
  if (answer.interrupted) return fail(Errc::interrupted, "interrupted, the volume is not mounted, try again");
  const auto reply = decode_reply(answer.text);
  if (reply && reply->completion && !reply->completion->result) return fail(reply->completion->result.error());
  return fail(Errc::failed,
              "the daemon died while it started, process " + std::to_string(child) + ", look at the system log");
}

}  // namespace remapfs::cli
