// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/output.hpp"
#include "cli/spare_device.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "io/device_identity.hpp"
#include "io/device_slice.hpp"
#include "io/member_check.hpp"
#include "io/posix_device.hpp"
#include "store/recover.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
namespace {

struct RecoverArguments {
  std::string map;
  std::string primary;
  std::vector<std::string> spares;
  std::string reserve;
  bool accept_stale = false;
};

// The members, held alone and for reading only, so that nobody mounts or uses them meanwhile.
struct Members {
  std::vector<std::shared_ptr<BlockDevice>> devices;
  std::vector<std::unique_ptr<BlockDevice>> parts;

  Result<std::shared_ptr<BlockDevice>> open(const std::string& path, const World& world) {
    if (auto unused = check_unused(path, world.views); !unused) return fail(unused.error());
    DeviceOptions how;
    how.read_only = true;
    how.views = world.views;
    auto device = open_device(path, how);
    if (!device) return fail(device.error());
    devices.push_back(std::move(*device));
    return devices.back();
  }

  Result<BlockDevice*> part(const std::shared_ptr<BlockDevice>& device, ByteOffset begin) {
    if (begin == ByteOffset(0)) return device.get();
    auto slice = DeviceSlice::make(device, {begin, ByteOffset(device->geometry().size.value())});
    if (!slice) return fail(slice.error());
    parts.push_back(std::move(*slice));
    return parts.back().get();
  }
};

Result<DeviceIdentity> identity_of(const BlockDevice& device, const World& world) {
  return identify_device(device.native_handle(), world.views);
}

// A spare on its device, which is the primary's when that holds it. reserve: it is so much of the device's end.
Result<store::RecoverySpare> take_spare(const std::shared_ptr<BlockDevice>& device, const std::string& path,
                                        std::optional<ByteCount> reserve, Members& members, const World& world) {
  ByteOffset begin;
  if (reserve) {
    const auto told = begin_of_reserve(device->geometry().size, *reserve);
    if (!told)
      return fail(Errc::invalid, fmt::format("reserve leaves no disk, {}, give the size it was made with", path));
    begin = *told;
  } else {
    const auto found = store::find_spare(*device, device == members.devices.front());
    if (!found) return fail(found.error());
    begin = *found;
  }
  const auto part = members.part(device, begin);
  if (!part) return fail(part.error());
  const auto identity = identity_of(*device, world);
  if (!identity) return fail(identity.error());
  return store::RecoverySpare{*part, path, to_line(*identity), begin};
}

Result<store::RecoverySpare> open_spare(const std::string& text, std::optional<ByteCount> reserve,
                                        const std::string& primary, Members& members, const World& world) {
  auto path = existing_path(text);
  if (!path) return fail(path.error());
  if (is_same_device(primary, *path)) return take_spare(members.devices.front(), primary, reserve, members, world);
  if (auto apart = check_no_overlap(primary, *path, world.views); !apart) return fail(apart.error());
  const auto device = members.open(*path, world);
  if (!device) return fail(device.error());
  return take_spare(*device, *path, reserve, members, world);
}

int run_recover(const RecoverArguments& arguments, World& world) {
  std::optional<ByteCount> reserve;
  if (!arguments.reserve.empty()) {
    const auto size = parse_size(arguments.reserve);
    if (!size) return report_error(world, size.error(), kExitUsage);
    reserve = ByteCount(*size);
  }
  const auto map_path = absolute_path(arguments.map);
  if (!map_path) return report_error(world, map_path.error());
  const auto primary_path = existing_path(arguments.primary);
  if (!primary_path) return report_error(world, primary_path.error());

  Members members;
  const auto primary = members.open(*primary_path, world);
  if (!primary) return report_error(world, primary.error());
  const auto identity = identity_of(**primary, world);
  if (!identity) return report_error(world, identity.error());

  store::RecoverySpec spec;
  spec.map_path = *map_path;
  spec.primary_path = *primary_path;
  spec.primary_identity = to_line(*identity);
  spec.primary_size = (*primary)->geometry().size;
  spec.accept_stale = arguments.accept_stale;
  spec.check_primary = [&](const std::string& remembered) -> Result<void> {
    const auto recorded = parse_identity(remembered);
    if (!recorded) return fail(recorded.error());
    return check_same_device(*recorded, *identity, *primary_path);
  };
  std::vector<std::string> spares = arguments.spares;
  if (spares.empty()) spares.push_back(*primary_path);
  const auto in_primary = [&](const std::string& text) { return is_same_device(*primary_path, text); };
  const bool of_primary = std::any_of(spares.begin(), spares.end(), in_primary);
  if (reserve && !of_primary && spares.size() > 1) {
    return report_error(
        world, "usage, --reserve is for one spare, or for that on the primary, see remapfs recover --help", kExitUsage);
  }
  for (auto spare = spares.begin(); spare != spares.end(); ++spare) {
    const auto is_this_one = [&](const std::string& other) { return is_same_device(*spare, other); };
    if (std::any_of(spares.begin(), spare, is_this_one)) {
      return report_error(world, fmt::format("{}, given as a spare twice, name each one once", *spare), kExitUsage);
    }
  }
  for (const std::string& text : spares) {
    const bool reserved = reserve && (!of_primary || in_primary(text));
    auto spare = open_spare(text, reserved ? reserve : std::nullopt, *primary_path, members, world);
    if (!spare) return report_error(world, spare.error());
    spec.spares.push_back(std::move(*spare));
  }
  const auto recovered = store::recover_map(spec);
  if (!recovered) {
    for (const std::string& doubt : recovered.error().doubts) world.out << fmt::format("doubt: {}\n", one_line(doubt));
    return report_error(world, recovered.error().error);
  }
  for (const std::string& doubt : recovered->doubts) {
    world.out << fmt::format("{}: {}\n", recovered->proven ? "of no consequence" : "accepted", one_line(doubt));
  }
  world.out << fmt::format("recovered {}: volume {}, {} remapped blocks\n", recovered->info.map_path,
                           recovered->info.uuid, recovered->info.rows);
  report_note(
      world,
      "lost and weak blocks are not known to a spare: their sectors are read from the primary again, and marked "
      "again where that fails");
  if (!recovered->proven) {
    report_note(
        world, "what was accepted is not vouched for: blocks may be read with old or wrong contents, check your files");
  }
  return kExitDone;
}

}  // namespace

void add_recover(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<RecoverArguments>();
  CLI::App* const verb = program.add_subcommand("recover", "Rebuild a map that is lost from the spare alone");
  verb->add_option("NEWMAP", arguments->map, "File for the map; must not exist")->required();
  verb->add_option("--primary", arguments->primary, "The primary of the volume")->type_name("PATH")->required();
  verb->add_option("--spare", arguments->spares,
                   "The spare of the volume, which may be its primary; each one, if there are several")
      ->type_name("PATH")
      ->allow_extra_args(false);
  verb->add_option("--reserve", arguments->reserve,
                   "The spare is so much of the end of its device, the primary unless --spare names it")
      ->type_name("SIZE");
  verb->add_flag("--accept-stale", arguments->accept_stale,
                 "Go on where nothing vouches for what the spare says: blocks may be read with old or wrong contents");
  verb->footer(
      "Writes nothing to primary and spare. Refuses, and names each doubt, unless the spare's superblock vouches\n"
      "for every tag. Restore the map from where it was if you can: only the map knows lost and weak blocks.\n\n"
      "Example:\n  remapfs recover /var/lib/new.remapfs --primary /dev/sdb --spare /srv/old.spare");
  verb->callback([arguments, &invocation] {
    if (arguments->spares.empty() && arguments->reserve.empty()) {
      throw CLI::ValidationError("--spare, or --reserve, is needed");
    }
    invocation.exit_code = run_recover(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
