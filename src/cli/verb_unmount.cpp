// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/output.hpp"
#include "cli/unmounting.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

struct UnmountArguments {
  std::string target;
  bool force = false;
};

int run_unmount(const UnmountArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto outcome = unmount(*target, arguments.force, world);
  if (!outcome) return report_error(world, outcome.error());
  if (*outcome == Outcome::already) report_note(world, fmt::format("not mounted, {}", target->map_path));
  return kExitDone;
}

}  // namespace

void add_unmount(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<UnmountArguments>();
  CLI::App* const verb = program.add_subcommand("unmount", "Unmount a volume and wait until its map is closed");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("--force", arguments->force,
                 "Also when the daemon has died, or its users do not let go: they get errors from then on; what was "
                 "acknowledged is kept. Never under an attached loop device");
  verb->footer("A volume in use stays mounted, and its users are named.\n\nExample:\n  remapfs unmount /mnt/old");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_unmount(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
