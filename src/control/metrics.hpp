// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/json.hpp"

namespace remapfs {

enum class MetricsFormat : std::uint8_t {
  openmetrics,  // https://prometheus.io/docs/specs/om/open_metrics_spec/, version 1.0
  prometheus,   // text format 0.0.4, for what does not know the other: node_exporter's files
};

// Volumes, each as `status -J` has it, as metrics. Counters are there for mounted volumes only; they begin again with
// a mount, those of the latencies with a process.
[[nodiscard]] std::string render_metrics(std::span<const nlohmann::ordered_json> volumes, MetricsFormat format);

}  // namespace remapfs
