// SPDX-License-Identifier: Apache-2.0
#include "cli/watch_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/status_view.hpp"
#include "control/latency_report.hpp"

namespace remapfs::cli {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

namespace {

constexpr auto kKept = 60s;
constexpr auto kRecent = 10s;
constexpr unsigned kMostBarWidth = 40;

constexpr const char* kPlain = "\x1b[0m";
constexpr const char* kBold = "\x1b[1m";
constexpr const char* kFaint = "\x1b[2m";
constexpr const char* kGreen = "\x1b[1;32m";
constexpr const char* kYellow = "\x1b[1;33m";
constexpr const char* kRed = "\x1b[1;31m";

// 12.3 us, 4.56 ms, 1.20 s
std::string time_text(std::uint64_t ns) {
  const auto time = static_cast<double>(ns);
  if (ns == 0) return "-";
  if (time < 1e6) return fmt::format("{:.0f} us", time / 1e3);
  if (time < 1e9) return fmt::format("{:.1f} ms", time / 1e6);
  return fmt::format("{:.2f} s", time / 1e9);
}

std::string line_of(std::string_view name, const std::string& value) { return fmt::format("  {:<10} {}", name, value); }

// Characters on the screen, but for those that take two places.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// left and right at the edges of the screen.
std::string apart(const std::string& left, const std::string& right, unsigned columns) {
  const std::size_t used = width_of(left) + width_of(right);
  return left + std::string(used < columns ? columns - used : 1, ' ') + right;
}

std::uint64_t number_at(const Json& status, const Json::json_pointer& path) {
  if (!status.contains(path)) return 0;
  const Json& value = status.at(path);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

// Spares come and go between two looks.
Json device_of(const Json& status, const Json& id) {
  for (const Json& device : status["devices"]) {
    if (device["id"] == id) return device;
  }
  return Json::object();
}

// Counters of a process that ended begin again.
std::uint64_t grown(std::uint64_t from, std::uint64_t to) { return to >= from ? to - from : to; }

}  // namespace

void WatchView::add(Json status, Clock::time_point at) {
  samples_.push_back({at, std::move(status)});
  while (samples_.size() > 2 && at - samples_[1].at >= kKept) samples_.pop_front();
}

const WatchView::Sample& WatchView::before(std::chrono::seconds ago) const {
  const Clock::time_point then = samples_.back().at - ago;
  const auto later = std::find_if(samples_.begin(), samples_.end(), [&](const Sample& one) { return one.at > then; });
  return later == samples_.begin() ? *later : *std::prev(later);
}

WatchView::Recent WatchView::recent(const std::string& kind) const {
  const auto counts = [&](const Sample& sample) {
    const Json::json_pointer path("/latency/" + kind);
    return sample.status.contains(path) ? latency_counts(sample.status.at(path)) : LatencyCounts{};
  };
  const Sample& then = before(kRecent);
  Recent recent{counts(samples_.back()), std::chrono::duration<double>(samples_.back().at - then.at).count()};
  const LatencyCounts old = counts(then);
  // Another process counts from the beginning.
  for (std::size_t i = 0; i < old.buckets.size(); ++i) {
    if (old.buckets[i] > recent.latencies.buckets[i]) return recent;
  }
  for (std::size_t i = 0; i < old.buckets.size(); ++i) recent.latencies.buckets[i] -= old.buckets[i];
  return recent;
}

std::uint64_t WatchView::last_minute(const Json::json_pointer& path) const {
  return grown(number_at(samples_.front().status, path), number_at(samples_.back().status, path));
}

std::string WatchView::coloured(const std::string& text, std::string_view state) const {
  if (!colours_) return text;
  const char* const colour = state == "healthy" ? kGreen : state == "degraded" ? kYellow : kRed;
  return colour + text + kPlain;
}

std::string WatchView::dim(const std::string& text) const { return colours_ ? kFaint + text + kPlain : text; }

void WatchView::put_heading(std::vector<std::string>& out, unsigned columns, const std::string& now) const {
  const Json& status = samples_.back().status;
  const std::string label = text_of(status["volume"]["label"]);
  const std::string name = label.empty() ? text_of(status["map"]) : label;
  const std::string heading = apart(" remapfs  " + one_line(name), now + " ", columns);
  out.push_back(colours_ ? kBold + heading + kPlain : heading);
  out.emplace_back();
  const std::string state = text_of(status["state"]);
  out.push_back("  " + fmt::format("{:<10} ", "State") + coloured(state, state));
  for (const Json& reason : status["reasons"]) out.push_back(line_of("", one_line(text_of(reason))));
  if (!trouble_.empty()) out.push_back(line_of("", coloured(one_line(trouble_), "failed")));
  out.push_back(line_of("Mounted", status["mounted"].get<bool>()
                                       ? fmt::format("{}{}, {}, process {}", one_line(text_of(status["mountpoint"])),
                                                     status["read_only"].get<bool>() ? " read-only" : "",
                                                     text_of(status["engine"]), text_of(status["worker_pid"]))
                                       : "no"));
  out.push_back(
      line_of("Blocks", fmt::format("{} remapped, {} weak, {} sectors lost, of {}", text_of(status["remapped_blocks"]),
                                    text_of(status["weak_blocks"]), text_of(status["lost_sectors"]),
                                    human_size(status["volume"]["size_bytes"]))));
}

void WatchView::put_spare(std::vector<std::string>& out, unsigned columns) const {
  const Json& spare = samples_.back().status["spare"];
  const auto total = spare["slots_total"].get<std::uint64_t>();
  const auto free = spare["slots_free"].get<std::uint64_t>();
  const unsigned width = std::min(kMostBarWidth, columns > 60 ? columns - 50 : 10);
  // One slot that is taken is seen.
  const std::uint64_t used = total - std::min(total, free);
  const std::uint64_t filled = total == 0 ? 0 : (used * width + total - 1) / total;
  out.push_back(
      line_of("Spare", fmt::format("[{:-<{}}] {} of {} slots free", std::string(filled, '#'), width, free, total)));
  if (!forecast_.empty()) out.push_back(line_of("", forecast_));
}

void WatchView::put_requests(std::vector<std::string>& out) const {
  const Json& status = samples_.back().status;
  if (!status.contains("latency") || !status["latency"].is_object()) return;
  out.emplace_back();
  out.push_back(dim(fmt::format("  {:<8}{:>10}{:>11}{:>11}{:>11}{:>14}{:>12}", "Requests", "a second", "p50", "p99",
                                "p99.9", "errors, 1 min", "all errors")));
  for (const auto& [kind, unused] : status["latency"].items()) {
    const Recent last = recent(kind);
    const std::uint64_t count = last.latencies.count();
    const double rate = last.seconds > 0 ? static_cast<double>(count) / last.seconds : 0;
    std::string errors;
    const Json::json_pointer path("/io/" + kind + "_errors");
    if (status.contains(path)) errors = fmt::format("{:>14}{:>12}", last_minute(path), number_at(status, path));
    out.push_back(fmt::format("  {:<8}{:>10.0f}{:>11}{:>11}{:>11}{}", kind, rate,
                              time_text(last.latencies.quantile(0.5)), time_text(last.latencies.quantile(0.99)),
                              time_text(last.latencies.quantile(0.999)), errors));
  }
}

void WatchView::put_devices(std::vector<std::string>& out) const {
  const Json& devices = samples_.back().status["devices"];
  out.emplace_back();
  out.push_back(dim(fmt::format("  {:<8}{:>10}{:>11}{:>11}{:>11}{:>14}  {}", "Failures", "read", "write", "zero",
                                "sync", "all, 1 min", "device")));
  for (const Json& device : devices) {
    std::string line = fmt::format("  {:<8}", text_of(device["role"]));
    std::uint64_t in_a_minute = 0;
    const Json before = device_of(samples_.front().status, device["id"]);
    for (const char* access : {"read", "write", "zero", "sync"}) {
      std::uint64_t all = 0;
      for (const char* failure : {"media", "timeout", "gone", "other"}) {
        const Json::json_pointer path(fmt::format("/failures/{}/{}", access, failure));
        all += number_at(device, path);
        in_a_minute += grown(number_at(before, path), number_at(device, path));
      }
      line += fmt::format("{:>{}}", all, access == std::string_view("read") ? 10 : 11);
    }
    const std::string note = note_of_device(device);
    out.push_back(line + fmt::format("{:>14}  {}{}", in_a_minute, one_line(text_of(device["path"])),
                                     note.empty() ? "" : ", " + note));
  }
}

void WatchView::put_scrub(std::vector<std::string>& out) const {
  const Json& scrub = samples_.back().status["scrub"];
  const std::string state = text_of(scrub["state"]);
  out.emplace_back();
  if (state != "running") {
    out.push_back(line_of("Scrub", state + (scrub["updated_at"].is_null() ? "" : ", " + text_of(scrub["updated_at"]))));
    return;
  }
  std::string words =
      fmt::format("running, {} of {} read", human_size(scrub["bytes_done"]), human_size(scrub["bytes_total"]));
  words += fmt::format(", {}/s", human_size(scrub["bytes_per_second"]));
  if (!scrub["seconds_left"].is_null()) words += fmt::format(", {} left", duration_text(scrub["seconds_left"]));
  out.push_back(line_of("Scrub", words));
  if (!scrub["trouble"].is_null()) out.push_back(line_of("", one_line(text_of(scrub["trouble"]))));
}

void WatchView::put_replacement(std::vector<std::string>& out) const {
  const Json& replacement = samples_.back().status["replacement"];
  const std::string words = replacement_in_words(replacement);
  if (words.empty()) return;
  out.push_back(line_of("Replace", words));
  if (!replacement["trouble"].is_null()) out.push_back(line_of("", one_line(text_of(replacement["trouble"]))));
}

void WatchView::put_events(std::vector<std::string>& out, std::size_t most) const {
  if (events_.empty() || most < 3) return;
  out.emplace_back();
  out.push_back(dim("  Last events"));
  const std::size_t first = events_.size() > most - 2 ? events_.size() - (most - 2) : 0;
  for (std::size_t i = first; i < events_.size(); ++i) {
    const store::ListedEvent& event = events_[i];
    std::string what = event.event.kind;
    if (event.event.block) what += fmt::format(", block {}", event.event.block->value());
    if (!event.event.detail.empty()) what += ": " + event.event.detail;
    out.push_back(fmt::format("  {}  {}", event.at, one_line(what)));
  }
}

std::vector<std::string> WatchView::lines(unsigned columns, unsigned rows, const std::string& now) const {
  std::vector<std::string> out;
  if (samples_.empty()) return {"  " + one_line(trouble_)};
  put_heading(out, columns, now);
  put_spare(out, columns);
  put_requests(out);
  put_devices(out);
  put_scrub(out);
  put_replacement(out);
  if (rows > out.size() + 2) put_events(out, rows - out.size() - 2);
  while (out.size() + 2 < rows) out.emplace_back();
  if (out.size() + 1 >= rows) out.resize(rows > 1 ? rows - 1 : 0);
  out.push_back(dim("  latencies and rates of the last 10 s; q ends this"));
  return out;
}

}  // namespace remapfs::cli
