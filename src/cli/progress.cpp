// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "cli/output.hpp"

namespace remapfs::cli {
namespace {

constexpr std::chrono::milliseconds kBarPause{100};
constexpr std::chrono::seconds kLinePause{5};
constexpr unsigned kBarWidth = 20;
constexpr const char* kClearLine = "\r\x1b[K";

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

Progress::Progress(World& world, std::string what, std::uint64_t total, Unit unit, bool silent,
                   std::function<Clock::time_point()> now)
    : world_(world),
      what_(std::move(what)),
      total_(total),
      unit_(unit),
      silent_(silent),
      now_(std::move(now)),
      start_(now_()),
      next_(start_ + (world.err_is_terminal ? Clock::duration(kBarPause) : Clock::duration(kLinePause))) {}

Progress::~Progress() {
  if (drawn_) world_.err << kClearLine << std::flush;
}

std::string Progress::amount(std::uint64_t count) const {
  return unit_ == Unit::bytes ? human_size(count) : std::to_string(count);
}

std::string Progress::figures(std::uint64_t done, Clock::duration elapsed) const {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const double rate = seconds > 0 ? static_cast<double>(done - std::min(done, first_)) / seconds : 0;
  const std::string_view unit = unit_ == Unit::blocks ? " blocks" : "";
  std::string text = total_ == 0 ? fmt::format("{}{}", amount(done), unit)
                                 : fmt::format("{} of {}{}", amount(done), amount(total_), unit);
  text += fmt::format(", {}/s", amount(static_cast<std::uint64_t>(rate)));
  if (total_ != 0 && rate > 0) {
    text += fmt::format(", {} left", duration_text(static_cast<double>(total_ - std::min(done, total_)) / rate));
  }
  return text;
}

void Progress::update(std::uint64_t done) {
  if (silent_) return;
  const auto now = now_();
  if (now < next_) return;
  const double share = total_ == 0 ? 0 : static_cast<double>(std::min(done, total_)) / static_cast<double>(total_);
  const std::string percent = total_ == 0 ? "" : fmt::format("{:3.0f} % ", share * 100);
  world_.out.flush();
  if (world_.err_is_terminal) {
    const auto filled = static_cast<std::size_t>(share * kBarWidth);
    const std::string bar = total_ == 0 ? "" : fmt::format("[{:-<{}}] ", std::string(filled, '#'), kBarWidth);
    world_.err << kClearLine << fmt::format("{} {}{}{}", what_, bar, percent, figures(done, now - start_))
               << std::flush;
    drawn_ = true;
    next_ = now + kBarPause;
  } else {
    world_.err << fmt::format("{}: {}{}", what_, percent, figures(done, now - start_)) << std::endl;
    next_ = now + kLinePause;
  }
}

}  // namespace remapfs::cli
