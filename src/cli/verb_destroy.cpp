// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/spare_device.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "core/unique_fd.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "store/map_lock.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
namespace {

// The place of each superblock that is this spare's of this volume; a spare that was wiped before has none.
// Errors: foreign when the device belongs to another volume by now, device errors.
Result<std::vector<ByteOffset>> superblock_places(BlockDevice& device, const VolumeInfo& info, const SpareInfo& spare) {
  std::vector<ByteOffset> places;
  const auto copies = store::read_superblocks(device);
  for (const store::Copy copy : store::kCopies) {
    const auto& superblock = copies[copy];
    if (superblock) {
      if (superblock->volume.to_string() != info.uuid || superblock->spare.to_string() != spare.uuid) {
        return fail(Errc::foreign,
                    fmt::format("belongs to another volume by now, {}, take it away first", device.name()));
      }
      places.push_back(superblock->layout.superblock[static_cast<std::size_t>(copy)]);
    }
  }
  return places;
}

Result<void> wipe_spare(const VolumeInfo& info, const SpareInfo& spare, const KernelViews& views) {
  DeviceOptions how;
  how.views = views;
  auto device = open_spare_of(spare, how);
  if (!device) return fail(device.error());
  const auto places = superblock_places(**device, info, spare);
  if (!places) return fail(places.error());
  for (const ByteOffset place : *places) {
    if (auto wiped = (*device)->zero_range({place, place + store::kStructureAlignment}); !wiped) {
      return fail(wiped.error());
    }
  }
  return (*device)->sync();
}

Result<void> remove_map(const std::string& path) {
  // The log goes first: left behind, it would be applied to a new map of the same name.
  for (const char* suffix : {"-wal", "-shm", ""}) {
    const std::string file = path + suffix;
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) {
      return fail(Errc::permission,
                  fmt::format("cannot remove it, {} ({}), remove it by hand", file, std::strerror(errno)), errno);
    }
  }
  const UniqueFd directory(::open(path.substr(0, path.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::fsync(directory.get());
  return {};
}

int run_destroy(const std::string& text, World& world) {
  const auto target = resolve_target(text, world);
  if (!target) return report_error(world, target.error());
  if (auto unmounted = check_unmounted(*target); !unmounted) return report_error(world, unmounted.error());
  const std::string& map_path = target->map_path;
  const auto info = read_map_info(map_path);
  if (!info) return report_error(world, info.error());
  // Held until the end: nobody mounts what is being destroyed.
  const auto lock = store::MapLock::acquire(map_path, /*read_only=*/false);
  if (!lock) return report_error(world, lock.error());

  for (const SpareInfo& spare : info->spares) {
    const auto wiped = wipe_spare(*info, spare, world.views);
    if (wiped) continue;
    // A spare that is gone, or serves another volume by now, is no reason to keep the map.
    if (wiped.error().code == Errc::not_found || wiped.error().code == Errc::foreign) {
      report_note(world, fmt::format("spare not wiped: {}", describe(wiped.error())));
      continue;
    }
    return report_error(
        world, fmt::format("spare cannot be wiped, {} ({}), the map was kept", spare.path, describe(wiped.error())));
  }
  if (auto removed = remove_map(map_path); !removed) return report_error(world, removed.error());
  world.out << fmt::format("destroyed {}\n", map_path);
  return kExitDone;
}

}  // namespace

void add_destroy(CLI::App& program, Invocation& invocation) {
  auto map = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("destroy", "Remove a map and free its spares, without asking");
  verb->add_option("MAP", *map, "Map of an unmounted volume")->required();
  verb->footer(
      "The data of remapped blocks is gone with it; the primary is not touched, but for a spare at its end. The spare "
      "can be used for\n"
      "another volume; a spare file stays where it is.\n\n"
      "Example:\n  remapfs destroy /var/lib/old.remapfs");
  verb->callback([map, &invocation] { invocation.exit_code = run_destroy(*map, invocation.world); });
}

}  // namespace remapfs::cli
