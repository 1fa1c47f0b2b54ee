// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <span>
#include <string>

namespace remapfs::cli {

// How long the manager waits for a sign of life, from its variables WATCHDOG_USEC and WATCHDOG_PID, as
// sd_watchdog_enabled(3) reads them; zero: it does not watch, or not this process.
[[nodiscard]] std::chrono::microseconds watchdog_interval(const std::string& usec, const std::string& pid, pid_t self);

// What RELOADING=1 comes with, since a manager drops what is older than its own request; see sd_notify(3).
[[nodiscard]] std::string reloading_message();

// Signs of life for a manager that ends a service which gives none. They come from the one thread that can still end
// the service in order, while it waits: no sign means that it does not wait any more.
class Watchdog {
 public:
  // interval: zero, and nothing is ever sent.
  Watchdog(std::string socket, std::chrono::microseconds interval) : socket_(std::move(socket)), interval_(interval) {}

  // poll(2), with a sign of life at least twice in an interval. A timeout below zero never ends.
  int poll(std::span<pollfd> entries, int timeout_ms);

 private:
  using Clock = std::chrono::steady_clock;

  std::string socket_;
  std::chrono::microseconds interval_;
  Clock::time_point next_{};  // sign of life
};

}  // namespace remapfs::cli
