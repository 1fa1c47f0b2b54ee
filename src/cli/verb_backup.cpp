// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <string>

#include "cli/output.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "store/backup.hpp"

namespace remapfs::cli {
namespace {

int run_backup(const std::string& text, const std::string& file, World& world) {
  const auto target = resolve_target(text, world);
  if (!target) return report_error(world, target.error());
  const auto path = absolute_path(file);
  if (!path) return report_error(world, path.error());
  const auto info = store::backup_map(target->map_path, *path);
  if (!info) return report_error(world, info.error());
  world.out << fmt::format("backed up {} to {}: {} entries\n", target->map_path, *path, info->rows);
  return kExitDone;
}

}  // namespace

void add_backup(CLI::App& program, Invocation& invocation) {
  auto text = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("backup", "Copy the map, mounted or not, to a file of its own");
  verb->add_option("TARGET", *text, "Map, mount point or disk")->required();
  verb->add_option("FILE", *file, "File for the copy; must not exist")->required();
  verb->footer(
      "Copies the map alone: what was remapped is on the spare. Put back in place of the map, a copy that is older\n"
      "than its spare is refused, and rightly so; \"remapfs recover\" makes a map of today from the spare.\n\n"
      "Example:\n  remapfs backup /var/lib/old.remapfs /backup/old.remapfs.$(date +%F)");
  verb->callback([text, file, &invocation] { invocation.exit_code = run_backup(*text, *file, invocation.world); });
}

}  // namespace remapfs::cli
