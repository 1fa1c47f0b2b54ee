// SPDX-License-Identifier: Apache-2.0
#include "cli/status_view.hpp"

#include <fmt/format.h>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
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

std::string pretty(const Json& value) { return value.dump(2, ' ', false, Json::error_handler_t::replace) + '\n'; }

std::string text_of(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string note_of_device(const Json& device) {
  std::string note;
  const auto add = [&](const std::string& word) { note += (note.empty() ? "" : ", ") + word; };
  if (device["missing"].get<bool>()) add("missing");
  if (device["retiring"].get<bool>()) add("being retired");
  if (device.value("first_byte", std::uint64_t{0}) != 0)
    add(fmt::format("from {} on", human_size(device["first_byte"])));
  return note;
}

std::string share_copied(const Json& replacement) {
  const auto total = replacement["bytes_total"].get<double>();
  const auto left = replacement["bytes_left"].get<double>();
  return fmt::format("{:.0f} %", total > 0 ? (total - left) / total * 100 : 100);
}

std::string replacement_in_words(const Json& replacement) {
  if (replacement.is_null()) return "";
  const std::string state = text_of(replacement["state"]);
  const std::string path = one_line(text_of(replacement["path"]));
  if (state == "returning") {
    return fmt::format("{} serves, {} blocks came back from the spares", path, text_of(replacement["returned_blocks"]));
  }
  if (state != "copying") return "";
  std::string words =
      fmt::format("{} copied to {}, {} to go", share_copied(replacement), path, human_size(replacement["bytes_left"]));
  if (const auto rate = replacement["bytes_per_second"].get<std::uint64_t>(); rate != 0) {
    words += fmt::format(", {}/s", human_size(rate));
  }
  if (!replacement["seconds_left"].is_null()) {
    words += fmt::format(", {} left", duration_text(replacement["seconds_left"]));
  }
  return words;
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
