// SPDX-License-Identifier: Apache-2.0
#include "rule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <utility>

namespace faulty {
namespace {

constexpr std::string_view kKeys =
    "sectors, list, count, percent, grow, seed, within, limit, op, error, mode, slow, corrupt, after";
constexpr std::uint64_t kMaxSector = std::uint64_t{1} << 54U;  // its byte offset stays below 2^63
constexpr nanoseconds kMaxDuration = std::chrono::hours(24 * 365);

using Settings = std::map<std::string, std::string, std::less<>>;

Result<Settings> split_settings(std::string_view text) {
  Settings settings;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const std::size_t equals = item.find('=');
    const std::string key(item.substr(0, equals));
    const std::string value(equals == item.npos ? std::string_view() : item.substr(equals + 1));
    if (key.empty()) return fail(Errc::invalid, "an empty setting; write KEY=VALUE, separated by commas");
    if (key != "corrupt" && value.empty()) return fail(Errc::invalid, fmt::format("{} needs a value", key));
    if (key == "corrupt" && equals != item.npos) return fail(Errc::invalid, std::string("corrupt takes no value"));
    if (!settings.emplace(key, value).second) return fail(Errc::invalid, fmt::format("{} is given twice", key));
  }
  return settings;
}

std::optional<std::string> take(Settings& settings, std::string_view key) {
  const auto found = settings.find(key);
  if (found == settings.end()) return std::nullopt;
  std::string value = std::move(found->second);
  settings.erase(found);
  return value;
}

Result<double> parse_decimal(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0) {
    return fail(Errc::invalid, fmt::format("'{}' is not a number", text));
  }
  return value;
}

// "50ms", "0.5s", "10": without a unit seconds, where that is allowed.
Result<nanoseconds> parse_duration(std::string_view text, bool unit_required) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  double factor = unit_required ? 0 : 1e9;
  std::string_view digits = text;
  for (const auto& [unit, nanos] : kUnits) {
    if (!text.ends_with(unit)) continue;
    factor = nanos;
    digits.remove_suffix(unit.size());
    break;
  }
  if (factor == 0) return fail(Errc::invalid, fmt::format("'{}' needs a unit: us, ms or s", text));
  const Result<double> value = parse_decimal(digits);
  if (!value) return fail(Errc::invalid, fmt::format("'{}' is not a duration such as 50ms or 2s", text));
  if (*value * factor > static_cast<double>(kMaxDuration.count())) {
    return fail(Errc::invalid, fmt::format("'{}' is longer than a year", text));
  }
  return nanoseconds(std::llround(*value * factor));
}

Result<void> parse_sectors(std::string_view text, Selection& selection) {
  if (text == "all") {
    selection.kind = Selection::Kind::all;
    return {};
  }
  selection.kind = Selection::Kind::sectors;
  while (true) {
    const std::string_view part = text.substr(0, text.find('+'));
    const Result<SectorRange> range = parse_sector_range(part);
    if (!range) return fail(range.error());
    selection.sectors.push_back(*range);
    if (part.size() == text.size()) return {};
    text.remove_prefix(part.size() + 1);
  }
}

Result<void> parse_grow(std::string_view text, Selection& selection) {
  static constexpr std::string_view kPer = "-per-";
  const std::size_t per = text.find(kPer);
  if (per == text.npos) return fail(Errc::invalid, fmt::format("grow '{}' is not N-per-SECONDS", text));
  const Result<std::uint64_t> count = parse_number(text.substr(0, per));
  const Result<nanoseconds> period = parse_duration(text.substr(per + kPer.size()), false);
  if (!count) return fail(count.error());
  if (!period) return fail(period.error());
  if (*count == 0 || period->count() == 0) {
    return fail(Errc::invalid, fmt::format("grow '{}' needs numbers above 0", text));
  }
  selection.kind = Selection::Kind::grow;
  selection.count = *count;
  selection.period = *period;
  return {};
}

Result<void> parse_place(Settings& settings, std::string_view base, Selection& selection) {
  int places = 0;
  if (const auto value = take(settings, "sectors")) {
    ++places;
    if (auto done = parse_sectors(*value, selection); !done) return done;
  }
  if (const auto value = take(settings, "list")) {
    ++places;
    selection.kind = Selection::Kind::list;
    selection.list_file = (std::filesystem::path(base) / *value).lexically_normal().string();
  }
  if (const auto value = take(settings, "count")) {
    ++places;
    const Result<std::uint64_t> count = parse_number(*value);
    if (!count) return fail(count.error());
    if (*count == 0) return fail(Errc::invalid, std::string("count needs a number above 0"));
    selection.kind = Selection::Kind::count;
    selection.count = *count;
  }
  if (const auto value = take(settings, "percent")) {
    ++places;
    const Result<double> percent = parse_decimal(value->ends_with('%') ? value->substr(0, value->size() - 1) : *value);
    if (!percent || *percent <= 0 || *percent > 100) {
      return fail(Errc::invalid, fmt::format("percent '{}' is not above 0 and up to 100", *value));
    }
    selection.kind = Selection::Kind::percent;
    selection.percent = *percent;
  }
  if (const auto value = take(settings, "grow")) {
    ++places;
    if (auto done = parse_grow(*value, selection); !done) return done;
  }
  if (places > 1) return fail(Errc::invalid, "one of sectors, list, count, percent, grow; use a second rule");
  return {};
}

Result<void> parse_draw(Settings& settings, Selection& selection) {
  const bool drawn = selection.kind == Selection::Kind::count || selection.kind == Selection::Kind::percent ||
                     selection.kind == Selection::Kind::grow;
  if (const auto value = take(settings, "seed")) {
    const Result<std::uint64_t> seed = parse_number(*value);
    if (!seed) return fail(seed.error());
    selection.seed = *seed;
  }
  if (const auto value = take(settings, "within")) {
    if (!drawn) return fail(Errc::invalid, "within goes with count, percent or grow");
    const Result<SectorRange> within = parse_sector_range(*value);
    if (!within) return fail(within.error());
    selection.within = *within;
  }
  if (const auto value = take(settings, "limit")) {
    if (selection.kind != Selection::Kind::grow) return fail(Errc::invalid, "limit goes with grow");
    const Result<std::uint64_t> limit = parse_number(*value);
    if (!limit) return fail(limit.error());
    if (*limit == 0) return fail(Errc::invalid, "limit needs a number above 0");
    selection.limit = *limit;
  }
  return {};
}

Result<void> parse_mode(const std::string& value, RuleSpec& rule) {
  if (value == "sticky") return {};
  if (value == "until-written") {
    rule.mode = RuleMode::until_written;
    return {};
  }
  static constexpr std::string_view kTimes = "times:";
  if (!value.starts_with(kTimes)) {
    return fail(Errc::invalid, fmt::format("mode '{}' is not sticky, times:N or until-written", value));
  }
  const Result<std::uint64_t> times = parse_number(std::string_view(value).substr(kTimes.size()));
  if (!times || *times == 0 || *times > std::numeric_limits<std::uint32_t>::max()) {
    return fail(Errc::invalid, fmt::format("mode '{}' needs a number above 0", value));
  }
  rule.mode = RuleMode::times;
  rule.times = static_cast<std::uint32_t>(*times);
  return {};
}

Result<RuleOp> parse_op(const std::string& value) {
  if (value == "read") return RuleOp::read;
  if (value == "write") return RuleOp::write;
  if (value == "both") return RuleOp::both;
  if (value == "flush") return RuleOp::flush;
  return fail(Errc::invalid, fmt::format("op '{}' is not read, write, both or flush", value));
}

// What happens and when.
Result<void> parse_effect(Settings& settings, RuleSpec& rule) {
  if (const auto value = take(settings, "error")) {
    const Result<int> number = parse_errno(*value);
    if (!number) return fail(number.error());
    rule.error = *number;
  }
  if (const auto value = take(settings, "slow")) {
    const Result<nanoseconds> slow = parse_duration(*value, true);
    if (!slow) return fail(slow.error());
    if (slow->count() == 0) return fail(Errc::invalid, "slow needs a time above 0");
    rule.slow = *slow;
  }
  rule.corrupt = take(settings, "corrupt").has_value();
  if (const auto value = take(settings, "after")) {
    const Result<nanoseconds> after = parse_duration(*value, false);
    if (!after) return fail(after.error());
    rule.after = *after;
  }
  if (const auto value = take(settings, "mode")) {
    if (auto done = parse_mode(*value, rule); !done) return done;
  }
  if (rule.corrupt || rule.mode == RuleMode::until_written) rule.op = RuleOp::read;
  if (const auto value = take(settings, "op")) {
    const Result<RuleOp> op = parse_op(*value);
    if (!op) return fail(op.error());
    if (rule.corrupt && *op != RuleOp::read) {
      return fail(Errc::invalid, fmt::format("corrupt is about reads; leave op={} out", *value));
    }
    if (rule.mode == RuleMode::until_written && *op == RuleOp::flush) {
      return fail(Errc::invalid, "a flush writes no sector; leave mode=until-written out");
    }
    rule.op = *op;
  }
  if (rule.corrupt && rule.error) return fail(Errc::invalid, "corrupt and error exclude each other");
  if (!rule.corrupt && rule.slow.count() == 0 && !rule.error) rule.error = EIO;
  return {};
}

Result<RuleSpec> parse_settings(std::string_view text, std::string_view base) {
  Result<Settings> settings = split_settings(text);
  if (!settings) return fail(settings.error());
  RuleSpec rule;
  if (auto done = parse_place(*settings, base, rule.selection); !done) return fail(done.error());
  if (auto done = parse_draw(*settings, rule.selection); !done) return fail(done.error());
  if (auto done = parse_effect(*settings, rule); !done) return fail(done.error());
  if (!settings->empty()) {
    return fail(Errc::invalid, fmt::format("unknown setting '{}'; known are {}", settings->begin()->first, kKeys));
  }
  const bool has_place = rule.selection.kind != Selection::Kind::none;
  if (rule.op == RuleOp::flush && has_place) return fail(Errc::invalid, "a flush has no place; leave the sectors out");
  if (rule.op != RuleOp::flush && !has_place) {
    return fail(Errc::invalid, "no place; give one of sectors, list, count, percent, grow");
  }
  return rule;
}

std::string duration_text(nanoseconds duration) {
  const auto count = duration.count();
  if (count % 1'000'000'000 == 0) return fmt::format("{}s", count / 1'000'000'000);
  if (count % 1'000'000 == 0) return fmt::format("{}ms", count / 1'000'000);
  return fmt::format("{}us", static_cast<double>(count) / 1e3);
}

std::string range_text(SectorRange range) {
  const std::uint64_t last = range.end.value() - 1;
  if (range.begin.value() == last) return fmt::format("{}", last);
  return fmt::format("{}-{}", range.begin.value(), last);
}

std::string place_text(const Selection& place) {
  std::string text;
  switch (place.kind) {
    case Selection::Kind::none: return text;
    case Selection::Kind::all: return "sectors=all";
    case Selection::Kind::list: return "list=" + place.list_file;
    case Selection::Kind::sectors:
      for (const SectorRange& range : place.sectors) text += (text.empty() ? "sectors=" : "+") + range_text(range);
      return text;
    case Selection::Kind::count: text = fmt::format("count={}", place.count); break;
    case Selection::Kind::percent: text = fmt::format("percent={}", place.percent); break;
    case Selection::Kind::grow: text = fmt::format("grow={}-per-{}", place.count, duration_text(place.period)); break;
  }
  text += fmt::format(",seed={}", place.seed);
  if (place.within) text += ",within=" + range_text(*place.within);
  if (place.limit) text += fmt::format(",limit={}", *place.limit);
  return text;
}

std::string_view op_text(RuleOp op) {
  switch (op) {
    case RuleOp::read: return "read";
    case RuleOp::write: return "write";
    case RuleOp::both: return "both";
    case RuleOp::flush: return "flush";
  }
  remapfs::invariant_failed("RuleOp has a name", __FILE__, __LINE__);
}

}  // namespace

Result<RuleSpec> parse_rule(std::string_view text, std::string_view base) {
  Result<RuleSpec> rule = parse_settings(text, base);
  if (!rule) return fail(Errc::invalid, fmt::format("rule '{}': {}", text, rule.error().message));
  // The canonical text separates settings by commas, so a name with one could not be told apart again.
  if (rule->selection.list_file.find_first_of(",\n") != std::string::npos) {
    return fail(Errc::invalid, fmt::format("rule '{}': the path of a list cannot hold a comma", text));
  }
  return rule;
}

std::string to_text(const RuleSpec& rule) {
  std::string text = place_text(rule.selection);
  text += fmt::format("{}op={}", text.empty() ? "" : ",", op_text(rule.op));
  if (rule.error) text += ",error=" + errno_name(*rule.error);
  if (rule.corrupt) text += ",corrupt";
  if (rule.slow.count() != 0) text += ",slow=" + duration_text(rule.slow);
  if (rule.mode == RuleMode::times) text += fmt::format(",mode=times:{}", rule.times);
  if (rule.mode == RuleMode::until_written) text += ",mode=until-written";
  if (rule.after.count() != 0) text += ",after=" + duration_text(rule.after);
  return text;
}

Result<int> parse_errno(std::string_view name) {
  static constexpr int kLastErrno = 133;
  int number = 0;
  if (const Result<std::uint64_t> value = parse_number(name); value && *value >= 1 && *value <= kLastErrno) {
    number = static_cast<int>(*value);
  }
  for (int candidate = 1; number == 0 && candidate <= kLastErrno; ++candidate) {
    const char* known = ::strerrorname_np(candidate);
    if (known != nullptr && name == known) number = candidate;
  }
  if (number == 0) return fail(Errc::invalid, fmt::format("'{}' is not the name of an error such as EIO", name));
  // The kernel takes ENOSYS for "this operation does not exist" and never asks for it again.
  if (number == ENOSYS) return fail(Errc::invalid, "ENOSYS would switch the operation off for good; use EOPNOTSUPP");
  return number;
}

std::string errno_name(int number) {
  const char* name = ::strerrorname_np(number);
  return name != nullptr ? name : fmt::format("{}", number);
}

Result<SectorRange> parse_sector_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const Result<std::uint64_t> first = parse_number(text.substr(0, dash));
  const Result<std::uint64_t> last = dash == text.npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last) return fail(Errc::invalid, fmt::format("'{}' is not a sector or a range A-B", text));
  if (*first > *last) return fail(Errc::invalid, fmt::format("range '{}' ends before it starts", text));
  if (*last >= kMaxSector) return fail(Errc::invalid, fmt::format("sector {} is beyond any disk", *last));
  return SectorRange{SectorIndex(*first), SectorIndex(*last + 1)};
}

Result<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  std::string_view digits = text;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return fail(Errc::invalid, fmt::format("'{}' is not a number", text));
  }
  return value;
}

}  // namespace faulty
