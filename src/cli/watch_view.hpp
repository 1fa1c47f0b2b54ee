// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/latency_histogram.hpp"
#include "store/map_reader.hpp"

namespace remapfs::cli {

// What `status --watch` shows on a screen: the volume as it is, and what changed in the last seconds.
class WatchView {
 public:
  using Clock = std::chrono::steady_clock;

  explicit WatchView(bool colours) : colours_(colours) {}

  // A status as `status -J` has it, and when it was so; in the order of time. An empty one: it could not be had.
  void add(nlohmann::ordered_json status, Clock::time_point at);
  void set_trouble(std::string trouble) { trouble_ = std::move(trouble); }
  void set_forecast(std::string words) { forecast_ = std::move(words); }
  void set_events(std::vector<store::ListedEvent> newest) { events_ = std::move(newest); }

  // rows: of the screen; what matters least is left out when there are too few. now: UTC, for the heading.
  [[nodiscard]] std::vector<std::string> lines(unsigned columns, unsigned rows, const std::string& now) const;

 private:
  struct Sample {
    Clock::time_point at;
    nlohmann::ordered_json status;
  };

  // Of requests of a kind that ended in the last seconds.
  struct Recent {
    LatencyCounts latencies;
    double seconds = 0;
  };
  [[nodiscard]] Recent recent(const std::string& kind) const;
  // How much a counter has grown in the last minute. path: of it in the status.
  [[nodiscard]] std::uint64_t last_minute(const nlohmann::ordered_json::json_pointer& path) const;
  [[nodiscard]] const Sample& before(std::chrono::seconds ago) const;
  [[nodiscard]] std::string coloured(const std::string& text, std::string_view state) const;
  [[nodiscard]] std::string dim(const std::string& text) const;

  void put_heading(std::vector<std::string>& out, unsigned columns, const std::string& now) const;
  void put_spare(std::vector<std::string>& out, unsigned columns) const;
  void put_requests(std::vector<std::string>& out) const;
  void put_devices(std::vector<std::string>& out) const;
  void put_scrub(std::vector<std::string>& out) const;
  void put_replacement(std::vector<std::string>& out) const;
  void put_events(std::vector<std::string>& out, std::size_t most) const;

  const bool colours_;
  std::deque<Sample> samples_;  // of the last minute, never empty after add()
  std::string trouble_;
  std::string forecast_;
  std::vector<store::ListedEvent> events_;
};

}  // namespace remapfs::cli
