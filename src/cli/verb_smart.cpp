// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/drive_report.hpp"
#include "cli/forecast.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/smartctl.hpp"
#include "cli/status_view.hpp"
#include "cli/verbs.hpp"
#include "cli/with_volume.hpp"
#include "control/smart_report.hpp"
#include "core/json.hpp"
#include "core/utc.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct SmartArguments {
  std::string target;
  bool json = false;
};

// A drive that is busy with a bad sector answers late.
constexpr std::chrono::seconds kDrivePatience{60};

// Errors: those of the daemon, or of opening the volume here.
Result<void> keep(const Target& target, std::vector<SmartReading> readings, World& world) {
  const auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (*daemon) {
    auto client = (*daemon)->connect();
    if (!client) return fail(client.error());
    Request request;
    request.verb = Verb::smart;
    request.smart = std::move(readings);
    const auto completion = client->ask(request);
    if (!completion) return fail(completion.error());
    if (!completion->result) return fail(completion->result.error());
    return {};
  }
  return with_volume(target.map_path, world, [&](Volume& volume) { return volume.record_smart(std::move(readings)); });
}

void print_drive(const Json& drive, std::ostream& out) {
  const auto line = [&](std::string_view name, const std::string& value) {
    out << fmt::format("{:<12} {}\n", name.empty() ? "" : fmt::format("{}:", name), value);
  };
  line("Device", fmt::format("{} {}, {}", text_of(drive["device"]), text_of(drive["role"]), text_of(drive["path"])));
  if (!drive["drive"].is_null()) line("Drive", one_line(text_of(drive["drive"]) + " " + text_of(drive["model"])));
  line("Verdict", text_of(drive["words"]));
  for (const Json& reason : drive["reasons"]) line("", one_line(text_of(reason)));
  for (const Json& warning : drive["warnings"]) line("Warning", one_line(text_of(warning)));
  const auto count = [&](std::string_view name, const char* member) {
    if (!drive[member].is_null()) line(name, text_of(drive[member]));
  };
  count("Reallocated", "reallocated");
  count("Pending", "pending");
  count("Errors", "uncorrectable");
  count("Temperature", "temperature");
  count("Hours", "power_on_hours");
  if (!drive["history"].empty()) {
    line("History",
         fmt::format("{} readings since {}", drive["history"].size(), text_of(drive["history"].at(0)["at"])));
  }
}

int run_smart(const SmartArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto status = status_of(*target, world);
  if (!status) return report_error(world, status.error());
  const auto history = read_smart(target->map_path);
  if (!history) return report_error(world, history.error());
  const std::int64_t now = std::time(nullptr);
  const auto lately = read_growth(target->map_path, forecast_begin(now));
  if (!lately) return report_error(world, lately.error());

  DriveReport report(*history, own_evidence(*lately, *status), now);
  std::vector<SmartReading> readings;
  for (const Json& device : (*status)["devices"]) {
    // A spare at the end of the primary is asked for with it.
    if (device["id"] != 0 && device["path"] == (*status)["devices"].at(0)["path"]) continue;
    auto asked = ask_drive(device, world, kDrivePatience);
    if (!asked) return report_error(world, asked.error());
    if (asked->health && asked->health->trouble.empty()) {
      asked->health->reading.at = utc_text(now);
      readings.push_back(asked->health->reading);
    }
    report.add(device, *asked);
  }
  if (!readings.empty() && !(*status)["read_only"].get<bool>()) {
    if (auto kept = keep(*target, std::move(readings), world); !kept) {
      report_note(world, fmt::format("not kept in the map, {}", describe(kept.error())));
    }
  }
  if (arguments.json) {
    world.out << pretty(Json{{"json_format_version", 1}, {"drives", report.drives()}});
    return kExitDone;
  }
  const char* separator = "";
  for (const Json& drive : report.drives()) {
    world.out << separator;
    print_drive(drive, world.out);
    separator = "\n";
  }
  return kExitDone;
}

}  // namespace

void add_smart(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<SmartArguments>();
  CLI::App* const verb = program.add_subcommand("smart", "Ask the drives how they are, and judge them");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("-J,--json", arguments->json, "As JSON, with the readings that the map keeps");
  verb->footer(
      "Runs smartctl (smartmontools) on the drives that primary and spares lie on, keeps what they say in the map,\n"
      "and says whether to replace them, and why. The verdict never changes the exit code.\n\n"
      "Example:\n  remapfs smart /mnt/old");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_smart(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
