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
#include "io/member_check.hpp"
#include "store/repair.hpp"

namespace remapfs::cli {
namespace {

Result<std::unique_ptr<BlockDevice>> open_spare(const SpareInfo& spare, const World& world) {
  if (auto unused = check_unused(spare.path, world.views); !unused) return fail(unused.error());
  DeviceOptions how;
  how.views = world.views;
  return open_spare_of(spare, how);
}

int run_repair(const std::string& text, World& world) {
  const auto target = resolve_target(text, world);
  if (!target) return report_error(world, target.error());
  if (auto unmounted = check_unmounted(*target); !unmounted) return report_error(world, unmounted.error());
  const auto info = store::members_of(target->map_path);
  if (!info) {
    const bool beyond = info.error().code == Errc::corrupt || info.error().code == Errc::foreign;
    if (beyond) report_note(world, "a map that cannot name its members is rebuilt by remapfs recover");
    return report_error(world, info.error());
  }
  std::map<SpareId, std::unique_ptr<BlockDevice>> devices;
  std::map<SpareId, BlockDevice*> spares;
  for (const SpareInfo& spare : info->spares) {
    auto device = open_spare(spare, world);
    if (!device) return report_error(world, device.error());
    spares[spare.id] = device->get();
    devices[spare.id] = std::move(*device);
  }
  const auto repair = store::repair_map(target->map_path, spares);
  if (!repair) return report_error(world, repair.error());
  for (const store::Finding& finding : repair->mended) {
    world.out << fmt::format("mended: {}: {}\n", finding.subject, one_line(finding.text));
  }
  for (const std::string& lost : repair->lost) world.out << fmt::format("left out: {}\n", one_line(lost));
  for (const store::Finding& finding : repair->left) {
    world.out << fmt::format("left: {}: {}\n", finding.subject, one_line(finding.text));
  }
  if (!repair->kept_as.empty()) report_note(world, fmt::format("the damaged map was kept, {}", repair->kept_as));
  if (!repair->left.empty()) return report_error(world, repair->reason);
  world.out << (repair->mended.empty() ? "clean, nothing to repair\n" : "clean\n");
  return kExitDone;
}

}  // namespace

void add_repair(CLI::App& program, Invocation& invocation) {
  auto map = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("repair", "Mend what is damaged on map and spares, without guessing");
  verb->add_option("MAP", *map, "Map of an unmounted volume")->required();
  verb->footer(
      "Prints a line for each thing mended, and for each that is left. What cannot be proven right is left as it\n"
      "is; a map that is lost or beyond repair is rebuilt by \"remapfs recover\".\n\n"
      "Example:\n  remapfs repair /var/lib/old.remapfs");
  verb->callback([map, &invocation] { invocation.exit_code = run_repair(*map, invocation.world); });
}

}  // namespace remapfs::cli
