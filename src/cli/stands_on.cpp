// SPDX-License-Identifier: Apache-2.0
#include "cli/stands_on.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cli/mount_entry.hpp"

namespace remapfs::cli {
namespace {

constexpr int kMostLayers = 16;

bool is_below(const std::string& path, const std::string& folder) {
  return folder == "/" || path == folder || path.starts_with(folder + "/");
}

bool path_stands_on(const std::string& path, const std::vector<std::string>& disks, const KernelViews& views,
                    int layers);

bool device_stands_on(const SysfsBlockDevice& device, const std::vector<std::string>& disks, const KernelViews& views,
                      int layers) {
  if (layers == 0) return true;  // too deep to say: then it counts as one
  if (const auto backing = device.disk().loop_backing()) {
    if (std::find(disks.begin(), disks.end(), backing->path) != disks.end()) return true;
    if (path_stands_on(backing->path, disks, views, layers - 1)) return true;
  }
  const auto below = device.disk().slaves();
  return std::any_of(below.begin(), below.end(),
                     [&](const SysfsBlockDevice& one) { return device_stands_on(one, disks, views, layers - 1); });
}

bool path_stands_on(const std::string& path, const std::vector<std::string>& disks, const KernelViews& views,
                    int layers) {
  const MountEntry* holder = nullptr;
  const auto mounts = all_mounts(views);
  for (const MountEntry& mount : mounts) {
    // Of two at the same place the later one is on top.
    if (is_below(path, mount.mount_point) &&
        (holder == nullptr || mount.mount_point.size() >= holder->mount_point.size())) {
      holder = &mount;
    }
  }
  if (holder == nullptr) return false;
  // By the device that was mounted: btrfs has numbers of its own, which no device has.
  struct stat source {};
  std::optional<SysfsBlockDevice> device;
  if (holder->source.starts_with('/') && ::stat(holder->source.c_str(), &source) == 0 && S_ISBLK(source.st_mode)) {
    device = SysfsBlockDevice::find(source.st_rdev, views);
  } else if (const auto number = parse_device_number(holder->device)) {
    device = SysfsBlockDevice::find(*number, views);
  }
  return device && device_stands_on(*device, disks, views, layers);
}

}  // namespace

bool stands_on_disk(const std::string& path, const std::string& mount_point, const KernelViews& views) {
  const std::vector<std::string> disks = MountEntry{mount_point, {}, {}, {}, 0}.possible_disk_paths();
  if (std::find(disks.begin(), disks.end(), path) != disks.end()) return true;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) {
    const auto device = SysfsBlockDevice::find(status.st_rdev, views);
    return device && device_stands_on(*device, disks, views, kMostLayers);
  }
  return path_stands_on(path, disks, views, kMostLayers);
}

}  // namespace remapfs::cli
