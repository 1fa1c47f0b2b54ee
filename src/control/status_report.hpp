// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/latency_histogram.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/replace.hpp"
#include "remapfs/volume.hpp"

namespace remapfs {

// What `remapfs status` knows of a volume, mounted or not.
struct StatusReport {
  VolumeInfo info;
  VolumeStatus volume;  // unmounted: computed from the map, the io figures zero
  bool mounted = false;
  bool read_only = false;
  bool degraded = false;                  // mounted without a missing spare
  bool waits_on_loss = false;             // what requests do while a device is gone, when mounted
  std::optional<std::string> mountpoint;  // as the daemon was given it, absolute
  std::optional<int> daemon_pid;          // the process to send signals to
  std::optional<int> worker_pid;          // the one that serves
  nlohmann::ordered_json survival;  // of the kill of that one: whether granted, why not, and how often it happened
  std::optional<DeviceGeometry> primary;                                // known while it is open
  std::string engine;                                                   // "blocking", ...; empty when unmounted
  nlohmann::ordered_json transport = nlohmann::ordered_json::object();  // figures the transport was granted, by name
  std::optional<RequestLatencies> latencies;                            // when mounted
  ScrubStatus scrub;
  ReplaceStatus replacement;
  std::vector<std::string> hardening;  // what the process was granted against memory pressure
};

// The one place that says what `status -J` looks like: `json_format_version` 1 and the members fixed by the design,
// then extras (reasons, mountpoint, devices, transport, ...) that may grow. Unknown is null, bytes are integers.
[[nodiscard]] nlohmann::ordered_json to_json(const StatusReport& report);

}  // namespace remapfs
