// SPDX-License-Identifier: Apache-2.0
#include "control/metrics.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "control/latency_report.hpp"
#include "core/utc.hpp"

namespace remapfs {
namespace {

using Json = nlohmann::ordered_json;
using Labels = std::vector<std::pair<std::string_view, std::string>>;

// Bounds of the latencies' buckets that are shown, in microseconds, and as `le`, in seconds: what Prometheus keeps
// costs a series each.
constexpr std::array<std::pair<std::uint64_t, std::string_view>, 20> kShownBounds{
    {{5, "5e-06"},    {10, "1e-05"},    {20, "2e-05"},    {50, "5e-05"},    {100, "0.0001"},
     {200, "0.0002"}, {500, "0.0005"},  {1000, "0.001"},  {2000, "0.002"},  {5000, "0.005"},
     {10000, "0.01"}, {20000, "0.02"},  {50000, "0.05"},  {100000, "0.1"},  {200000, "0.2"},
     {500000, "0.5"}, {1000000, "1.0"}, {2000000, "2.0"}, {5000000, "5.0"}, {9000000, "9.0"}}};

// Of what is not UTF-8, which a reader would refuse with the whole page, U+FFFD stands for each wrong piece.
std::string escaped(std::string_view text) {
  const Json whole = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string out;
  for (const char c : whole.get_ref<const std::string&>()) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : std::string(); }

// Writes families of metrics, one after the other.
class Writer {
 public:
  Writer(std::span<const Json> volumes, MetricsFormat format) : volumes_(volumes), format_(format) {}

  // name: without the ending that belongs to the type. each(volume, labels) adds the samples of one.
  template <class Each>
  void family(std::string_view name, std::string_view type, std::string_view unit, std::string_view help, Each&& each) {
    name_ = name;
    const bool open = format_ == MetricsFormat::openmetrics;
    const std::string_view ending = type == "counter" ? "_total" : type == "info" ? "_info" : "";
    // The older format knows no such ending, and no type for information.
    const std::string family = fmt::format("remapfs_{}{}", name, open ? "" : ending);
    out_ += fmt::format("# TYPE {} {}\n", family, type == "info" && !open ? "gauge" : type);
    if (open && !unit.empty()) out_ += fmt::format("# UNIT {} {}\n", family, unit);
    out_ += fmt::format("# HELP {} {}\n", family, help);
    ending_ = ending;
    for (const Json& volume : volumes_) each(volume, Labels{{"volume", text_of(volume["volume"]["uuid"])}});
  }

  template <class Number>
  void sample(const Labels& labels, Number value) {
    sample_of(ending_, labels, fmt::format("{}", value));
  }
  void sample_of(std::string_view ending, const Labels& labels, std::string_view value) {
    std::string list;
    for (const auto& [name, text] : labels) {
      list += fmt::format("{}{}=\"{}\"", list.empty() ? "" : ",", name, escaped(text));
    }
    out_ += fmt::format("remapfs_{}{}{{{}}} {}\n", name_, ending, list, value);
  }

  [[nodiscard]] std::string finish() && {
    if (format_ == MetricsFormat::openmetrics) out_ += "# EOF\n";
    return std::move(out_);
  }

 private:
  const std::span<const Json> volumes_;
  const MetricsFormat format_;
  std::string out_;
  std::string name_;
  std::string_view ending_;
};

Labels with(Labels labels, std::string_view name, std::string value) {
  labels.emplace_back(name, std::move(value));
  return labels;
}

bool is_mounted(const Json& volume) { return volume["mounted"].get<bool>(); }

// A number of every volume. path: where in its status.
void gauge(Writer& writer, std::string_view name, std::string_view unit, std::string_view help, const char* path) {
  writer.family(name, "gauge", unit, help, [&](const Json& volume, const Labels& labels) {
    const Json& value = volume.at(Json::json_pointer(path));
    if (value.is_boolean()) return writer.sample(labels, value.get<bool>() ? 1 : 0);
    if (value.is_number_unsigned()) writer.sample(labels, value.get<std::uint64_t>());
  });
}

// What is counted while it is mounted.
void counter(Writer& writer, std::string_view name, std::string_view help, const char* path) {
  writer.family(name, "counter", "", help, [&](const Json& volume, const Labels& labels) {
    const Json::json_pointer pointer(path);
    if (is_mounted(volume) && volume.contains(pointer)) writer.sample(labels, volume.at(pointer).get<std::uint64_t>());
  });
}

void write_health(Writer& writer) {
  writer.family("volume", "info", "", "A volume: its label, and where it is mounted.",
                [&](const Json& volume, Labels labels) {
                  labels.emplace_back("label", text_of(volume["volume"]["label"]));
                  labels.emplace_back("mountpoint", text_of(volume["mountpoint"]));
                  labels.emplace_back("map", text_of(volume["map"]));
                  labels.emplace_back("engine", text_of(volume["engine"]));
                  writer.sample(labels, 1);
                });
  gauge(writer, "mounted", "", "1 while the volume is mounted.", "/mounted");
  writer.family("state", "gauge", "", "1 for the state that the volume is in, 0 for the others.",
                [&](const Json& volume, const Labels& labels) {
                  for (const char* state : {"healthy", "degraded", "suspended", "failed"}) {
                    writer.sample(with(labels, "state", state), text_of(volume["state"]) == state ? 1 : 0);
                  }
                });
  gauge(writer, "size_bytes", "bytes", "Size of the virtual disk.", "/volume/size_bytes");
  gauge(writer, "remapped_blocks", "", "Blocks whose data is on a spare.", "/remapped_blocks");
  gauge(writer, "lost_sectors", "", "Sectors of 512 bytes that cannot be read until they are written again.",
        "/lost_sectors");
  gauge(writer, "weak_blocks", "", "Blocks on the primary that can be read only after retries.", "/weak_blocks");
  gauge(writer, "spare_slots", "", "Slots that can be used, of all spares that are not being retired.",
        "/spare/slots_total");
  gauge(writer, "spare_free_slots", "", "Free slots, of all spares that are not being retired.", "/spare/slots_free");
}

void write_devices(Writer& writer) {
  const auto each_device = [](const Json& volume, const Labels& labels, auto&& visit) {
    for (const Json& device : volume["devices"]) {
      visit(device, with(with(labels, "device", text_of(device["path"])), "role", text_of(device["role"])));
    }
  };
  writer.family("device_missing", "gauge", "", "1 for a device that the volume is mounted without.",
                [&](const Json& volume, const Labels& volume_labels) {
                  each_device(volume, volume_labels, [&](const Json& device, const Labels& labels) {
                    writer.sample(labels, device["missing"].get<bool>() ? 1 : 0);
                  });
                });
  writer.family("device_retired_slots", "gauge", "", "Slots of a spare that failed and are never used again.",
                [&](const Json& volume, const Labels& volume_labels) {
                  each_device(volume, volume_labels, [&](const Json& device, const Labels& labels) {
                    const Json& retired = device["slots_retired"];
                    if (retired.is_number_unsigned()) writer.sample(labels, retired.get<std::uint64_t>());
                  });
                });
  writer.family("io_errors", "counter", "",
                "Accesses to a device that failed, each attempt: class media speaks of the place, gone of the device.",
                [&](const Json& volume, const Labels& volume_labels) {
                  each_device(volume, volume_labels, [&](const Json& device, const Labels& labels) {
                    if (!device.contains("failures")) return;
                    for (const auto& [access, row] : device["failures"].items()) {
                      for (const auto& [failure, count] : row.items()) {
                        writer.sample(with(with(labels, "op", access), "class", failure), count.get<std::uint64_t>());
                      }
                    }
                  });
                });
}

void write_requests(Writer& writer) {
  const auto by_op = [&](std::string_view name, std::string_view help, const char* reads, const char* writes) {
    writer.family(name, "counter", "", help, [&](const Json& volume, const Labels& labels) {
      if (!is_mounted(volume)) return;
      writer.sample(with(labels, "op", "read"), volume["io"][reads].get<std::uint64_t>());
      writer.sample(with(labels, "op", "write"), volume["io"][writes].get<std::uint64_t>());
    });
  };
  by_op("requests", "Requests of whoever uses the disk.", "reads", "writes");
  by_op("request_errors", "Requests that were answered with an error.", "read_errors", "write_errors");
  writer.family("request_duration_seconds", "histogram", "seconds",
                "From when a request was taken from the kernel until it was answered.",
                [&](const Json& volume, const Labels& labels) {
                  if (!volume.contains("latency") || !volume["latency"].is_object()) return;
                  for (const auto& [op, of_a_kind] : volume["latency"].items()) {
                    const LatencyCounts counts = latency_counts(of_a_kind);
                    const Labels with_op = with(labels, "op", op);
                    std::uint64_t so_far = 0;
                    std::size_t next = 0;
                    for (const auto& [bound, le] : kShownBounds) {
                      const std::size_t last = LatencyCounts::bucket_of(bound * 1000);
                      for (; next <= last; ++next) so_far += counts.buckets[next];
                      writer.sample_of("_bucket", with(with_op, "le", std::string(le)), fmt::format("{}", so_far));
                    }
                    const std::string all = fmt::format("{}", counts.count());
                    writer.sample_of("_bucket", with(with_op, "le", "+Inf"), all);
                    writer.sample_of("_count", with_op, all);
                    writer.sample_of("_sum", with_op,
                                     fmt::format("{:.6f}", static_cast<double>(counts.total_ns) / 1e9));
                  }
                });
  counter(writer, "relocated_blocks", "Blocks that were moved to a slot.", "/io/relocations");
  counter(writer, "map_commits", "Commits of the map.", "/commits/count");
  writer.family("map_commit_longest_seconds", "gauge", "seconds", "The longest commit since the volume was mounted.",
                [&](const Json& volume, const Labels& labels) {
                  if (!is_mounted(volume)) return;
                  writer.sample(labels, volume["commits"]["longest_us"].get<double>() / 1e6);
                });
  counter(writer, "restarts", "Times that a new process went on for one that was killed.", "/crash_survival/restarts");
}

void write_scrub(Writer& writer) {
  writer.family("scrub_running", "gauge", "", "1 while a scrub is under way.",
                [&](const Json& volume, const Labels& labels) {
                  writer.sample(labels, text_of(volume["scrub"]["state"]) == "running" ? 1 : 0);
                });
  writer.family("scrub_progress_ratio", "gauge", "ratio", "How much of the disk the scrub has read, 0 to 1.",
                [&](const Json& volume, const Labels& labels) {
                  const Json& scrub = volume["scrub"];
                  writer.sample(labels, scrub["bytes_done"].get<double>() / scrub["bytes_total"].get<double>());
                });
  writer.family("scrub_finished_timestamp_seconds", "gauge", "seconds",
                "When the scrub came to its end, if it is the last thing that it did.",
                [&](const Json& volume, const Labels& labels) {
                  const Json& scrub = volume["scrub"];
                  if (text_of(scrub["state"]) != "finished") return;
                  if (const auto at = utc_seconds(text_of(scrub["updated_at"]))) writer.sample(labels, *at);
                });
}

}  // namespace

std::string render_metrics(std::span<const Json> volumes, MetricsFormat format) {
  Writer writer(volumes, format);
  write_health(writer);
  write_devices(writer);
  write_requests(writer);
  write_scrub(writer);
  return std::move(writer).finish();
}

}  // namespace remapfs
