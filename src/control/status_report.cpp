// SPDX-License-Identifier: Apache-2.0
#include "control/status_report.hpp"

#include <algorithm>
#include <chrono>

#include "control/json_values.hpp"
#include "control/latency_report.hpp"
#include "control/replace_report.hpp"
#include "control/scrub_report.hpp"

namespace remapfs {

using Json = nlohmann::ordered_json;

namespace {

// Null: the device is not there, or nothing is mounted.
Json failures_of(const VolumeStatus& volume, SpareId id) {
  const auto device = std::find_if(volume.failures.begin(), volume.failures.end(),
                                   [&](const DeviceFailures& one) { return one.id == id; });
  if (device == volume.failures.end()) return nullptr;
  Json failures;
  for (std::size_t i = 0; i < kDeviceAccesses; ++i) {
    Json& row = failures[std::string(to_string(static_cast<DeviceAccess>(i)))];
    for (std::size_t j = 0; j < kFailureClasses; ++j) {
      row[std::string(to_string(static_cast<FailureClass>(j)))] = device->failures[i][j];
    }
  }
  return failures;
}

Json devices_of(const StatusReport& report) {
  const VolumeInfo& info = report.info;
  const std::optional<DeviceGeometry>& geometry = report.primary;
  Json devices = Json::array();
  Json primary{{"id", 0},
               {"role", "primary"},
               {"path", info.primary_path},
               {"first_byte", 0},
               {"uuid", nullptr},
               {"slots", nullptr},
               {"slots_free", nullptr},
               {"slots_retired", nullptr},
               {"missing", false},
               {"retiring", false},
               {"failures", failures_of(report.volume, 0)}};
  if (geometry) {
    primary["logical_block"] = geometry->logical_block;
    primary["physical_block"] = geometry->physical_block;
    primary["direct_io"] = geometry->direct;
  }
  devices.push_back(std::move(primary));
  for (const SpareInfo& spare : info.spares) {
    const auto& all = report.volume.spares;
    const auto now = std::find_if(all.begin(), all.end(), [&](const SpareStatus& one) { return one.id == spare.id; });
    const bool known = now != all.end();
    devices.push_back(Json{{"id", spare.id},
                           {"role", "spare"},
                           {"path", spare.path},
                           {"first_byte", spare.begin.value()},
                           {"uuid", spare.uuid},
                           {"slots", spare.slots},
                           {"slots_free", known ? Json(now->free) : Json(nullptr)},
                           {"slots_retired", known ? spare.slots - now->usable : spare.retired.size()},
                           {"missing", spare.missing},
                           {"retiring", known && now->retiring},
                           {"failures", failures_of(report.volume, spare.id)}});
  }
  return devices;
}

}  // namespace

Json to_json(const StatusReport& report) {
  const VolumeStatus& volume = report.volume;
  Json status;
  status["json_format_version"] = 1;
  status["state"] = to_string(volume.state);
  status["mounted"] = report.mounted;
  status["volume"] = Json{{"uuid", report.info.uuid},
                          {"label", text_or_null(report.info.label)},
                          {"size_bytes", report.info.size.value()},
                          {"block_size", report.info.block_size}};
  status["remapped_blocks"] = volume.remapped_blocks;
  status["lost_sectors"] = volume.lost_sectors;
  status["weak_blocks"] = volume.weak_blocks;
  status["spare"] = Json{{"slots_total", volume.slots_total}, {"slots_free", volume.slots_free}};
  status["io"] = Json{{"reads", volume.reads},
                      {"writes", volume.writes},
                      {"read_errors", volume.read_errors},
                      {"write_errors", volume.write_errors},
                      {"relocations", volume.relocations}};
  status["engine"] = text_or_null(report.engine);
  status["reasons"] = volume.reasons;
  status["commits"] =
      Json{{"count", volume.commits},
           {"longest_us", std::chrono::duration_cast<std::chrono::microseconds>(volume.longest_commit).count()}};
  status["latency"] = report.latencies ? to_json(*report.latencies) : Json();
  status["scrub"] = to_json(report.scrub, report.info);
  status["replacement"] = to_json(report.replacement);
  status["map"] = report.info.map_path;
  status["mountpoint"] = or_null(report.mountpoint);
  status["daemon_pid"] = or_null(report.daemon_pid);
  status["worker_pid"] = or_null(report.worker_pid);
  status["crash_survival"] = report.survival;
  status["read_only"] = report.read_only;
  status["degraded_mount"] = report.degraded;
  status["on_loss"] = report.mounted ? Json(report.waits_on_loss ? "wait" : "fail") : Json();
  status["suspended"] = volume.suspended;
  status["table_growth_refused"] = volume.table_growth_refused;
  status["devices"] = devices_of(report);
  status["transport"] = report.transport;
  status["hardening"] = report.hardening;
  return status;
}

}  // namespace remapfs
