// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/block_command.hpp"
#include "cli/output.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

int run_verb(const std::string& text, World& world) {
  const auto target = resolve_target(text, world);
  if (!target) return report_error(world, target.error());
  return run_resume(*target, world);
}

}  // namespace

void add_resume(CLI::App& program, Invocation& invocation) {
  auto target = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("resume", "Go on after a device was gone or a sync failed");
  verb->add_option("TARGET", *target, "Map, mount point, or the disk in it")->required();
  verb->footer(
      "Probes the devices and serves again when they answer. When acknowledged writes were lost with\n"
      "the device, the next flush fails, so that whoever wrote them learns of it.\n\n"
      "Example:\n  remapfs resume /mnt/old");
  verb->callback([target, &invocation] { invocation.exit_code = run_verb(*target, invocation.world); });
}

}  // namespace remapfs::cli
