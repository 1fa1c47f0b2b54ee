// SPDX-License-Identifier: Apache-2.0
#include "control/latency_report.hpp"

#include <cmath>

namespace remapfs {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::uint64_t kNanosecondsPerMicrosecond = 1000;

double microseconds(std::uint64_t ns) {
  // Tenths: more would be an accuracy that buckets do not have.
  return std::round(static_cast<double>(ns) / 100) / 10;
}

Json to_json(const LatencyCounts& counts) {
  Json buckets = Json::array();
  for (std::size_t i = 0; i < counts.buckets.size(); ++i) {
    if (counts.buckets[i] == 0) continue;
    const bool bounded = i < LatencyCounts::kBounds;
    buckets.push_back(
        {bounded ? Json(LatencyCounts::bound(i) / kNanosecondsPerMicrosecond) : Json(nullptr), counts.buckets[i]});
  }
  return {{"count", counts.count()},
          {"total_us", counts.total_ns / kNanosecondsPerMicrosecond},
          {"p50_us", microseconds(counts.quantile(0.5))},
          {"p99_us", microseconds(counts.quantile(0.99))},
          {"p999_us", microseconds(counts.quantile(0.999))},
          {"buckets", std::move(buckets)}};
}

}  // namespace

Json to_json(const RequestLatencies& latencies) {
  Json all;
  for (std::size_t i = 0; i < latencies.size(); ++i) {
    all[std::string(to_string(static_cast<RequestKind>(i)))] = to_json(latencies[i]);
  }
  return all;
}

LatencyCounts latency_counts(const Json& of_a_kind) {
  LatencyCounts counts;
  const auto total = of_a_kind.find("total_us");
  if (total != of_a_kind.end() && total->is_number_unsigned()) {
    counts.total_ns = total->get<std::uint64_t>() * kNanosecondsPerMicrosecond;
  }
  const auto buckets = of_a_kind.find("buckets");
  if (buckets == of_a_kind.end() || !buckets->is_array()) return counts;
  for (const Json& bucket : *buckets) {
    if (!bucket.is_array() || bucket.size() != 2 || !bucket[1].is_number_unsigned()) continue;
    if (!bucket[0].is_number_unsigned() && !bucket[0].is_null()) continue;
    const std::size_t i = bucket[0].is_number_unsigned()
                              ? LatencyCounts::bucket_of(bucket[0].get<std::uint64_t>() * kNanosecondsPerMicrosecond)
                              : LatencyCounts::kBounds;
    counts.buckets[i] += bucket[1].get<std::uint64_t>();
  }
  return counts;
}

}  // namespace remapfs
