// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <memory>
#include <ostream>
#include <string>

#include "cli/drive_report.hpp"
#include "cli/forecast.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/status_view.hpp"
#include "cli/verbs.hpp"
#include "cli/write_output.hpp"
#include "core/json.hpp"
#include "core/utc.hpp"
#include "remapfs/version.hpp"
#include "report/disk_regions.hpp"
#include "report/write_page.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ReportArguments {
  std::string target;
  std::string file;
  bool json = false;
};

constexpr std::uint64_t kNewestEvents = 200;

Json forecast_data(const store::MapGrowth& growth, const Json& spare, std::int64_t now) {
  const Forecast forecast = make_forecast(growth, spare["slots_free"], spare["slots_total"], now);
  return {{"slots_free", forecast.slots_free},
          {"slots_total", forecast.slots_total},
          {"slots_per_day", forecast.slots_per_day ? Json(*forecast.slots_per_day) : Json()},
          {"runs_out_at", forecast.runs_out_at ? Json(utc_text(*forecast.runs_out_at)) : Json()},
          {"basis", basis_of(forecast)}};
}

Result<Json> report_data(const Target& target, const World& world) {
  auto status = status_of(target, world);
  if (!status) return fail(status.error());
  const auto regions = read_regions(target.map_path);
  if (!regions) return fail(regions.error());
  const auto events = read_newest_events(target.map_path, kNewestEvents);
  if (!events) return fail(events.error());
  const auto readings = read_smart(target.map_path);
  if (!readings) return fail(readings.error());
  const std::int64_t now = std::time(nullptr);
  const auto lately = read_growth(target.map_path, forecast_begin(now));
  if (!lately) return fail(lately.error());

  Json data{{"json_format_version", 1},
            {"generated_at", utc_text(now)},
            {"program", fmt::format("remapfs {}", kVersion)},
            {"target", target.map_path}};
  data["regions"] = regions->regions();
  data["growth"] = regions->growth();
  data["forecast"] = forecast_data(*lately, (*status)["spare"], now);
  const OwnEvidence own = own_evidence(*lately, *status);
  data["smart"] = primary_health(*readings, own, now);
  data["events"] = Json::array();
  for (const store::ListedEvent& event : *events) data["events"].push_back(event_json(event));
  data["status"] = std::move(*status);
  return data;
}

int run_report(const ReportArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto data = report_data(*target, world);
  if (!data) return report_error(world, data.error());
  if (arguments.json) {
    world.out << pretty(*data);
    return kExitDone;
  }
  if (arguments.file == "-") {
    report::write_page(*data, world.out);
    return kExitDone;
  }
  const auto written =
      write_output(arguments.file, paths_of_status((*data)["status"]), [&](std::ostream& out) -> Result<void> {
        report::write_page(*data, out);
        return {};
      });
  return written ? kExitDone : report_error(world, written.error());
}

}  // namespace

void add_report(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* const verb = program.add_subcommand("report", "Make a page that shows the whole disk");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("-o,--output", arguments->file, "The page, which is replaced as a whole")->type_name("FILE");
  verb->add_flag("-J,--json", arguments->json, "What the page is made of, as JSON");
  verb->footer(
      "One HTML file that loads nothing: the disk as a picture with every bad place, how it grew, how long the spare\n"
      "will last, and the last events; for a browser, a phone, or paper.\n\n"
      "Example:\n  remapfs report /mnt/old -o old.html");
  verb->callback([arguments, &invocation] {
    if (arguments->file.empty() != arguments->json) throw CLI::ValidationError("one of -o and -J is needed");
    invocation.exit_code = run_report(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
