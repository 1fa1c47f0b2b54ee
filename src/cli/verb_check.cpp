// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include "cli/output.hpp"
#include "cli/spare_device.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "store/check.hpp"

namespace remapfs::cli {
namespace {

std::string_view severity_name(store::Finding::Severity severity) {
  switch (severity) {
    case store::Finding::Severity::error: return "error";
    case store::Finding::Severity::mended: return "will be mended";
    case store::Finding::Severity::note: return "note";
  }
  return "error";
}

// Findings carry what a mount would say, which sends people here.
std::string advice_for_here(std::string text) {
  constexpr std::string_view kSentHere = "run `remapfs check`";
  const std::size_t at = text.find(kSentHere);
  return at == std::string::npos ? text : text.replace(at, kSentHere.size(), "run `remapfs repair`");
}

int run_check(const std::string& map_path, World& world) {
  const auto target = resolve_target(map_path, world);
  if (!target) return report_error(world, target.error());

  // A map too damaged to name its spares is checked without them: the findings say what is wrong with it.
  std::map<SpareId, std::unique_ptr<BlockDevice>> devices;
  std::map<SpareId, BlockDevice*> spares;
  if (const auto info = store::members_of(target->map_path)) {
    for (const SpareInfo& spare : info->spares) {
      DeviceOptions how;
      how.read_only = true;
      how.views = world.views;
      auto device = open_spare_of(spare, how);
      if (!device) {
        if (device.error().code == Errc::busy) return report_error(world, device.error());
        report_note(world, describe(device.error()));
        continue;
      }
      spares[spare.id] = device->get();
      devices[spare.id] = std::move(*device);
    }
  }
  const auto findings = store::check_map(target->map_path, spares);
  if (!findings) return report_error(world, findings.error());
  for (const store::Finding& finding : *findings) {
    world.out << fmt::format("{}: {}: {}\n", severity_name(finding.severity), finding.subject,
                             one_line(advice_for_here(finding.text)));
  }
  if (!findings->empty()) return kExitCouldNot;
  world.out << "clean\n";
  return kExitDone;
}

}  // namespace

void add_check(CLI::App& program, Invocation& invocation) {
  auto map = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("check", "Compare everything that map and spares say; change nothing");
  verb->add_option("MAP", *map, "Map of an unmounted volume")->required();
  verb->footer(
      "Prints a line for each finding and ends with 2, or \"clean\" and 0.\n\n"
      "Example:\n  remapfs check /var/lib/old.remapfs");
  verb->callback([map, &invocation] { invocation.exit_code = run_check(*map, invocation.world); });
}

}  // namespace remapfs::cli
