// SPDX-License-Identifier: Apache-2.0
#include "cli/drive_verdict.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/utc.hpp"

namespace remapfs::cli {
namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kWeek = 7 * kDay;
constexpr std::int64_t kLongAgo = 60 * kDay;
// In a week: a drive that fails, rather than one that has a bad spot.
constexpr std::uint64_t kManySectors = 50;
constexpr std::uint64_t kManyBlocks = 100;
constexpr std::uint64_t kWornOut = 100;  // per cent
constexpr std::int64_t kHot = 60;        // degrees Celsius: above what most are made for

class Judge {
 public:
  Judge(const DriveHealth& health, const std::vector<SmartReading>& history, std::int64_t now)
      : health_(health), history_(history), now_(now) {}

  DriveJudgement judge(const OwnEvidence& own) {
    by_its_own_words();
    by_sectors();
    by_own_evidence(own);
    if (health_.reading.temperature.value_or(0) > kHot) {
      say(DriveVerdict::fine, fmt::format("it is hot, {} degrees Celsius: cool it", *health_.reading.temperature));
    }
    if (!health_.trouble.empty()) say(DriveVerdict::unknown, health_.trouble);
    std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    DriveJudgement judgement;
    judgement.verdict = health_.trouble.empty() ? DriveVerdict::fine : DriveVerdict::unknown;
    for (auto& [verdict, reason] : found_) {
      judgement.verdict = std::max(judgement.verdict, verdict);
      judgement.reasons.push_back(std::move(reason));
    }
    if (judgement.reasons.empty()) judgement.reasons.emplace_back("no sector is bad, and the drive has no complaint");
    return judgement;
  }

 private:
  void say(DriveVerdict verdict, std::string reason) { found_.emplace_back(verdict, std::move(reason)); }

  void by_its_own_words() {
    for (const std::string& name : health_.failing) {
      say(DriveVerdict::replace_now, fmt::format("{} is below its threshold", name));
    }
    if (health_.critical_warning.value_or(0) != 0) {
      say(DriveVerdict::replace_now,
          fmt::format("the drive warns (critical warning 0x{:02x})", *health_.critical_warning));
    }
    if (health_.spare_exhausted) say(DriveVerdict::replace_now, "its own spare blocks are nearly used up");
    if (health_.reading.passed == false && found_.empty()) {
      say(DriveVerdict::replace_now, "the drive says that it is failing");
    }
    const std::uint64_t wear = health_.reading.wear_percent.value_or(0);
    if (wear >= kWornOut) say(DriveVerdict::replace_soon, fmt::format("{} % of its rated writes are used up", wear));
  }

  // How much a counter has grown since the newest reading of at least that age that knows it, or else since the first
  // one.
  struct Growth {
    std::uint64_t count = 0;
    std::int64_t since = 0;
  };
  [[nodiscard]] std::optional<Growth> grown(std::optional<std::uint64_t> SmartReading::*counter,
                                            std::int64_t age) const {
    const SmartReading* before = nullptr;
    std::int64_t since = 0;
    for (const SmartReading& reading : history_) {
      const auto at = utc_seconds(reading.at);
      if (!at || !(reading.*counter)) continue;
      if (before != nullptr && *at > now_ - age) break;
      before = &reading;
      since = *at;
    }
    const auto here = health_.reading.*counter;
    if (before == nullptr || !here) return std::nullopt;
    const std::uint64_t then = *(before->*counter);
    return Growth{*here > then ? *here - then : 0, since};
  }

  // It is known for as long, and none came.
  [[nodiscard]] bool is_old(std::optional<std::uint64_t> SmartReading::*counter) const {
    const auto lately = grown(counter, kLongAgo);
    return lately && lately->count == 0 && now_ - lately->since >= kLongAgo;
  }

  void by_sectors() {
    const SmartReading& reading = health_.reading;
    if (const std::uint64_t pending = reading.pending.value_or(0); pending != 0) {
      say(DriveVerdict::replace_soon, fmt::format("{} sectors cannot be read and wait to be written again", pending));
    }
    if (const std::uint64_t errors = reading.uncorrectable.value_or(0); errors != 0) {
      const bool old = is_old(&SmartReading::uncorrectable);
      say(old ? DriveVerdict::fine : DriveVerdict::replace_soon,
          fmt::format("{} errors could not be corrected{}", errors, old ? ", none in the last 60 days" : ""));
    }
    const std::uint64_t reallocated = reading.reallocated.value_or(0);
    if (reallocated == 0) return;
    if (is_old(&SmartReading::reallocated)) {
      return say(DriveVerdict::fine, fmt::format("{} sectors were replaced, none in the last 60 days", reallocated));
    }
    const auto lately = grown(&SmartReading::reallocated, kWeek);
    if (!lately || lately->count == 0) {
      return say(DriveVerdict::replace_soon, fmt::format("{} sectors were replaced", reallocated));
    }
    // A week's worth of it, when the last reading before is older.
    const auto weeks = static_cast<double>(std::max(now_ - lately->since, kWeek)) / static_cast<double>(kWeek);
    const bool fast = static_cast<double>(lately->count) / weeks >= static_cast<double>(kManySectors);
    say(fast ? DriveVerdict::replace_now : DriveVerdict::replace_soon,
        fmt::format("{} sectors were replaced since {}, {} in all", lately->count,
                    utc_text(lately->since).substr(0, 10), reallocated));
  }

  void by_own_evidence(const OwnEvidence& own) {
    if (own.moved_in_a_week >= kManyBlocks) {
      say(DriveVerdict::replace_now,
          fmt::format("remapfs moved {} blocks away in the last 7 days", own.moved_in_a_week));
    } else if (own.moved_in_a_week != 0) {
      say(DriveVerdict::replace_soon,
          fmt::format("remapfs moved {} blocks away in the last 7 days", own.moved_in_a_week));
    }
    if (own.lost_sectors != 0) say(DriveVerdict::replace_soon, fmt::format("{} sectors are lost", own.lost_sectors));
  }

  const DriveHealth& health_;
  const std::vector<SmartReading>& history_;
  const std::int64_t now_;
  std::vector<std::pair<DriveVerdict, std::string>> found_;
};

}  // namespace

std::string_view to_string(DriveVerdict verdict) {
  switch (verdict) {
    case DriveVerdict::unknown: return "unknown";
    case DriveVerdict::fine: return "fine";
    case DriveVerdict::replace_soon: return "replace-soon";
    case DriveVerdict::replace_now: return "replace-now";
  }
  return "unknown";
}

std::string_view in_words(DriveVerdict verdict) {
  switch (verdict) {
    case DriveVerdict::unknown: return "not known";
    case DriveVerdict::fine: return "fine";
    case DriveVerdict::replace_soon: return "replace it soon";
    case DriveVerdict::replace_now: return "replace it now";
  }
  return "not known";
}

DriveJudgement judge_drive(const DriveHealth& health, const std::vector<SmartReading>& history, const OwnEvidence& own,
                           std::int64_t now) {
  return Judge(health, history, now).judge(own);
}

}  // namespace remapfs::cli
