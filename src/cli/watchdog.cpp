// SPDX-License-Identifier: Apache-2.0
#include "cli/watchdog.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <optional>

#include "cli/service_manager.hpp"

namespace remapfs::cli {
namespace {

std::optional<std::int64_t> parse_whole(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::chrono::microseconds watchdog_interval(const std::string& usec, const std::string& pid, pid_t self) {
  const auto interval = parse_whole(usec);
  if (!interval || *interval <= 0) return {};
  if (!pid.empty() && parse_whole(pid) != self) return {};
  return std::chrono::microseconds(*interval);
}

std::string reloading_message() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(std::int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000);
}

int Watchdog::poll(std::span<pollfd> entries, int timeout_ms) {
  const auto count = static_cast<nfds_t>(entries.size());
  if (interval_.count() == 0 || socket_.empty()) return ::poll(entries.data(), count, timeout_ms);
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    auto now = Clock::now();
    if (now >= next_) {
      notify_service_manager(socket_, "WATCHDOG=1");
      next_ = now + interval_ / 2;
    }
    const auto until = timeout_ms < 0 ? next_ : std::min(next_, end);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    const int ready = ::poll(entries.data(), count, static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
    if (ready != 0) return ready;
    if (timeout_ms >= 0 && Clock::now() >= end) return 0;
  }
}

}  // namespace remapfs::cli
