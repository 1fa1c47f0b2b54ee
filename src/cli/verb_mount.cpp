// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/drive_report.hpp"
#include "cli/keeper.hpp"
#include "cli/mount_request.hpp"
#include "cli/output.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

struct MountArguments {
  std::string map;
  std::string mount_point;
  bool foreground = false;
  std::vector<std::string> options;
};

int run_mount(const MountArguments& arguments, World& world) {
  const auto settings = parse_mount_options(arguments.options);
  if (!settings) {
    return report_error(world, settings.error(), settings.error().code == Errc::invalid ? kExitUsage : kExitMount);
  }
  const auto map = existing_path(arguments.map);
  if (!map) return report_error(world, map.error(), kExitMount);
  const auto mount_point = absolute_path(arguments.mount_point);
  if (!mount_point) return report_error(world, mount_point.error(), kExitMount);

  if (!arguments.foreground) {
    const auto disk = mount_in_background(*map, *mount_point, *settings, false, world);
    return disk ? kExitDone : report_error(world, disk.error(), kExitMount);
  }
  // Where somebody waits for a mount that is there already, nobody is to be kept waiting.
  if (world.stored_descriptors.empty()) {
    if (auto free = check_not_mounted(*map, world); !free) return report_error(world, free.error(), kExitMount);
    if (const auto warning = warning_before_mount(*map, world)) report_note(world, *warning);
  }
  Readiness nobody;
  const auto exit_code = keep({*map, *mount_point, *settings, true, false}, world, nobody);
  return exit_code ? *exit_code : report_error(world, exit_code.error(), kExitMount);
}

}  // namespace

void add_mount(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<MountArguments>();
  CLI::App* const verb = program.add_subcommand("mount", "Serve a volume as a file");
  verb->add_option("MAP", arguments->map, "Map of the volume")->required();
  verb->add_option("MOUNTPOINT", arguments->mount_point,
                   "A directory, which then shows one file, disk; or a regular file, which becomes the disk")
      ->required();
  verb->add_flag("-f,--foreground", arguments->foreground, "Stay in the foreground and log to the terminal");
  verb->add_option("-o", arguments->options,
                   "Comma-separated: ro, degraded (read-only, a spare may be missing), on-loss=fail|wait, allow_other, "
                   "engine=auto|io_uring|blocking, workers=N, and what fstab may say")
      ->type_name("OPTIONS")
      ->expected(1)
      ->take_all();
  verb->footer(
      "Returns when the disk can be used. In fstab the type is fuse.remapfs.\n\nExample:\n"
      "  remapfs mount /var/lib/old.remapfs /mnt/old -o on-loss=wait");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_mount(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
