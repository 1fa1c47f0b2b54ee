// SPDX-License-Identifier: Apache-2.0
#include "cli/status_view.hpp"

#include "cli/map_view.hpp"
#include "cli/reach.hpp"

namespace remapfs::cli {

using Json = nlohmann::ordered_json;

Result<Json> status_of(const Target& target, const World& world) {
  auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (*daemon) return (*daemon)->status();
  const auto report = status_from_map(target.map_path);
  if (!report) return fail(report.error());
  return to_json(*report);
}

std::string text_of(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string note_of_device(const Json& device) {
  if (device["missing"].get<bool>()) return "missing";
  return device["retiring"].get<bool>() ? "being retired" : "";
}

std::vector<std::string> paths_of_status(const Json& status) {
  const std::string map = text_of(status["map"]);
  std::vector<std::string> paths{map, map + "-wal", map + "-shm"};
  for (const Json& device : status["devices"]) paths.push_back(text_of(device["path"]));
  return paths;
}

Json event_json(const store::ListedEvent& event) {
  return Json{{"id", event.id},
              {"at", event.at},
              {"kind", event.event.kind},
              {"block", event.event.block ? Json(event.event.block->value()) : Json(nullptr)},
              {"detail", event.event.detail}};
}

}  // namespace remapfs::cli
