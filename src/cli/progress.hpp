// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "cli/world.hpp"

namespace remapfs::cli {

// "42 s", "3:07 min", "14:20 h".
[[nodiscard]] std::string duration_text(double seconds);

// Shows on the error stream how far a long piece of work is: a bar that is drawn again on a terminal, elsewhere a line
// now and then, so that short work prints nothing. The last thing on the stream when it ends is what others wrote.
//
// Cost: update() looks at the clock; it may be called for every block.
class Progress {
 public:
  enum class Unit : std::uint8_t { blocks, bytes };
  using Clock = std::chrono::steady_clock;

  // what: "importing". total: 0 when it is not known. silent: shows nothing at all.
  Progress(World& world, std::string what, std::uint64_t total, Unit unit, bool silent = false,
           std::function<Clock::time_point()> now = Clock::now);
  // Takes the bar away.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::uint64_t done);
  // So much was done before: the rate is that of the rest.
  void begin_at(std::uint64_t done) { first_ = done; }

 private:
  [[nodiscard]] std::string amount(std::uint64_t count) const;
  [[nodiscard]] std::string figures(std::uint64_t done, Clock::duration elapsed) const;

  World& world_;
  const std::string what_;
  const std::uint64_t total_;
  const Unit unit_;
  const bool silent_;
  const std::function<Clock::time_point()> now_;
  const Clock::time_point start_;
  std::uint64_t first_ = 0;
  Clock::time_point next_;  // when it is shown again
  bool drawn_ = false;
};

}  // namespace remapfs::cli
