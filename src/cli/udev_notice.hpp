// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "cli/world.hpp"
#include "io/sysfs.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::cli {

// What udev's rules (packaging/udev) are told of a mounted volume.
struct UdevNotice {
  std::string uuid;
  std::string label;           // as people wrote it
  std::string disk;            // path of the virtual disk, as a loop device over it shows it
  std::vector<dev_t> members;  // block devices that are primary or spare
};

// Block devices among these paths; what is a file, or cannot be looked at, is left out.
[[nodiscard]] std::vector<dev_t> block_devices(const std::vector<std::string>& paths);

// A label as the name of a link in /dev: letters, digits and #+-.:=@_, all else as _; empty when nothing is left that
// could be told from a folder.
[[nodiscard]] std::string link_name(std::string_view label);

// Writes DIRECTORY/UUID.volume and a file in DIRECTORY/devices for each member, and asks for a "change" event of each
// member and its partitions. Again for the same volume: only what is new, or no longer so, changes.
// Errors: device_other, when a file cannot be written; a kernel that takes no request for an event is no error.
Result<void> post_udev_notice(const std::string& directory, const UdevNotice& notice, const KernelViews& views);

// Waits until udevd has seen that these devices are members, or for the time given; not at all where no udevd runs.
// udevd leaves a disk alone that somebody holds an exclusive flock() on, as a mounted volume does on its devices: what
// it is to know it has to know before.
void wait_for_udev(const std::vector<dev_t>& members, std::chrono::milliseconds patience,
                   const std::string& udev_directory = "/run/udev");

// Takes all of it away and asks for events, also of what a daemon that died has left. Nothing to take away is no error.
void withdraw_udev_notice(const std::string& directory, const std::string& uuid, const KernelViews& views);

// The notice of the volume that a daemon serves. Users' volumes are none of udev's business: for them it does nothing.
// Threads: every member from any number of threads.
class UdevPost {
 public:
  explicit UdevPost(const World& world) : world_(world) {}

  // Before a device of the volume is opened: posts, and waits a moment until udevd knows.
  Result<void> before_devices(const VolumeInfo& info);
  // Once it is known where the disk is; again at any time.
  Result<void> serving(const VolumeInfo& info, const std::string& disk);
  // When no device is open any more. Nothing, when nothing was posted here.
  void withdraw();

 private:
  const World& world_;
  Mutex mutex_;
  std::string uuid_ GUARDED_BY(mutex_);  // empty: nothing is posted
};

}  // namespace remapfs::cli
