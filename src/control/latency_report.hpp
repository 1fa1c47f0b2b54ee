// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/json.hpp"
#include "core/latency_histogram.hpp"

// Latencies as `status -J` has them, by kind of request:
//   {"read":{"count":3,"total_us":41,"p50_us":12,"p99_us":18,"p999_us":18,"buckets":[[10,1],[20,2]]},...}
// A bucket is the most that a request in it took, in microseconds (null: more than the largest bound), and how many
// there are; empty ones are left out.

namespace remapfs {

[[nodiscard]] nlohmann::ordered_json to_json(const RequestLatencies& latencies);
// Back from it; what is not understood is not counted.
[[nodiscard]] LatencyCounts latency_counts(const nlohmann::ordered_json& of_a_kind);

}  // namespace remapfs
