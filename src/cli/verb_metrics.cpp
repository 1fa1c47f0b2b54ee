// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cli/output.hpp"
#include "cli/status_view.hpp"
#include "cli/verbs.hpp"
#include "cli/write_output.hpp"
#include "control/metrics.hpp"
#include "core/json.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct MetricsArguments {
  std::vector<std::string> targets;
  bool all = false;
  std::string file;
};

int run_metrics(const MetricsArguments& arguments, World& world) {
  int exit_code = kExitDone;
  std::vector<Target> targets = arguments.all ? mounted_targets(world) : std::vector<Target>();
  for (const std::string& text : arguments.targets) {
    auto target = resolve_target(text, world);
    if (target) targets.push_back(std::move(*target));
    if (!target) exit_code = report_error(world, target.error());
  }
  // What is known of the others is worth as much without one of them.
  std::vector<Json> volumes;
  std::vector<std::string> ours;
  std::set<std::string> seen;
  for (const Target& target : targets) {
    if (!seen.insert(target.map_path).second) continue;
    for (const char* ending : {"", "-wal", "-shm"}) ours.push_back(target.map_path + ending);
    auto status = status_of(target, world);
    if (!status) {
      exit_code = report_error(world, status.error());
      continue;
    }
    const int understood = unless_not_understood(world, [&] {
      for (std::string& path : paths_of_status(*status)) ours.push_back(std::move(path));
      static_cast<void>(render_metrics(std::span(&*status, 1), MetricsFormat::prometheus));
      return kExitDone;
    });
    if (understood == kExitDone) {
      volumes.push_back(std::move(*status));
    } else {
      exit_code = understood;
    }
  }
  // A file is written all the same: old figures would say that all is as it was.
  const bool to_file = !arguments.file.empty() && arguments.file != "-";
  if (!to_file && volumes.empty() && exit_code != kExitDone) return exit_code;
  if (!to_file) {
    world.out << render_metrics(volumes, MetricsFormat::openmetrics);
    return exit_code;
  }
  const auto render = [&](std::ostream& out) -> Result<void> {
    out << render_metrics(volumes, MetricsFormat::prometheus);
    return {};
  };
  // node_exporter is somebody else.
  const auto written = write_output(arguments.file, ours, render, Readers::everybody);
  return written ? exit_code : report_error(world, written.error());
}

}  // namespace

void add_metrics(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<MetricsArguments>();
  CLI::App* const verb = program.add_subcommand("metrics", "Show figures of volumes for Prometheus");
  const CLI::Option* const targets =
      verb->add_option("TARGET", arguments->targets, "Maps, mount points, or the disks in them");
  verb->add_flag("--all", arguments->all, "Every volume that this user has mounted");
  verb->add_option("-o,--output", arguments->file, "Into a file for node_exporter, which is replaced as a whole")
      ->type_name("FILE");
  verb->footer(
      "OpenMetrics on the standard output; in a file the older text format, which node_exporter's textfile\n"
      "collector reads.\n\n"
      "Example:\n  remapfs metrics /mnt/old\n"
      "  remapfs metrics --all -o /var/lib/prometheus/node-exporter/remapfs.prom");
  verb->callback([arguments, targets, &invocation] {
    if (arguments->all == (targets->count() > 0)) throw CLI::ValidationError("one of TARGET and --all is needed");
    invocation.exit_code = run_metrics(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
