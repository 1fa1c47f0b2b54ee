// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_request.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "cli/assemble.hpp"
#include "cli/daemonize.hpp"
#include "cli/drive_report.hpp"
#include "cli/keeper.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "core/unique_fd.hpp"
#include "io/device_identity.hpp"

namespace remapfs::cli {

Result<std::string> open_served_disk(const std::string& mount_point) {
  struct stat info {};
  std::string path = mount_point;
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) path += "/disk";
  const UniqueFd disk(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!disk) {
    return fail(Errc::device_other,
                fmt::format("mounted, but the disk cannot be opened, {} ({}), look at the system log", path,
                            std::strerror(errno)),
                errno);
  }
  return path;
}

Result<void> check_not_mounted(const std::string& map_path, const World& world) {
  const auto target = resolve_target(map_path, world);
  if (!target || !target->mount || !is_connected(target->mount->mount_point)) return {};
  return check_unmounted(*target);
}

Result<std::string> mount_in_background(const std::string& map_path, const std::string& mount_point,
                                        const MountSettings& settings, bool remove_mount_point, World& world) {
  if (auto free = check_not_mounted(map_path, world); !free) return fail(free.error());
  // The daemon logs it; who is at the terminal reads no log.
  const auto info = read_map_info(map_path);
  const bool changed = info && was_changed(*info, file_stamp(info->primary_path));
  if (const auto warning = warning_before_mount(map_path, world)) report_note(world, *warning);
  ServiceSpec spec{map_path, mount_point, settings, /*foreground=*/false, remove_mount_point};
  auto started =
      start_in_background([&](Readiness& readiness) { return keep(spec, world.leave_service(), readiness); });
  if (!started) return fail(started.error());
  if (changed) report_note(world, change_warning(*info));
  return open_served_disk(mount_point);
}

}  // namespace remapfs::cli
